# SPDX-License-Identifier: Apache-2.0
"""An SSH server on a loopback port, for the real ssh and scp of the machine.

It lets the key in `key` in under any name, runs what is asked for with /bin/sh as
whoever runs the test, and forwards ports.  By paramiko: an OpenSSH server would
need a user of its own and a home that is not ours to write.
"""
import socket
import subprocess
import threading

import paramiko


class Rules(paramiko.ServerInterface):
    def __init__(self, server):
        self.server = server
        self.forwards = {}

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        self.server.users.append(username)
        return paramiko.AUTH_SUCCESSFUL if key == self.server.key else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_pty_request(self, *args):
        return True

    def check_channel_exec_request(self, channel, command):
        self.server.commands.append(command.decode())
        threading.Thread(target=serve, args=(channel, command), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(self, chanid, origin, destination):
        self.forwards[chanid] = destination
        return paramiko.OPEN_SUCCEEDED


def serve(channel, command):
    process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def feed():
        while data := channel.recv(65536):
            process.stdin.write(data)
            process.stdin.flush()
        process.stdin.close()
    threading.Thread(target=feed, daemon=True).start()
    while data := process.stdout.read1(65536):
        channel.sendall(data)
    channel.send_exit_status(process.wait())
    channel.close()


def pump(channel, port):
    def back():
        with channel:
            while data := far.recv(65536):
                channel.sendall(data)

    with socket.create_connection(("127.0.0.1", port), timeout=20) as far:
        answers = threading.Thread(target=back, daemon=True)
        answers.start()
        while data := channel.recv(65536):
            far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        answers.join()


class SshServer:
    def __init__(self, directory):
        self.key_file = directory / "key"
        self.key = paramiko.ECDSAKey.generate()
        self.key.write_private_key_file(str(self.key_file))
        self.host_key = paramiko.ECDSAKey.generate()
        self.commands, self.users = [], []

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(client)
            transport.add_server_key(self.host_key)
            rules = Rules(self)
            transport.start_server(server=rules)
            threading.Thread(target=self.channels, args=(transport, rules), daemon=True).start()

    @staticmethod
    def channels(transport, rules):
        while transport.is_active():
            channel = transport.accept(1)
            if channel is not None and channel.get_id() in rules.forwards:
                threading.Thread(target=pump, daemon=True,
                                 args=(channel, rules.forwards[channel.get_id()][1])).start()

    def options(self):
        """For ssh and scp: everything goes to this server, whatever the host's name."""
        return (f"-o HostName=127.0.0.1 -o Port={self.port} -i {self.key_file} -o BatchMode=yes "
                "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR")
