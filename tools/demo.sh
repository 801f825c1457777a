#!/usr/bin/env bash
# demo: one real job through every layer of davit, step by step; `./dev demo` runs it.
# Ends non-zero at the first step that fails, and leaves nothing running.
set -euo pipefail

user=$(id -un)
key=devcluster/$user/devel/hello
dir=$(mktemp -d "${TMPDIR:-/tmp}/davit-demo.XXXXXX")
export AURORA_CONFIG_ROOT=$dir

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

finish() {
    local status=$?
    davit down --dir "$dir" >/dev/null 2>&1 || true
    if [ $status -eq 0 ]; then
        rm -rf "$dir"
    else
        printf '\ndemo: this step failed (exit %s); logs are in %s/log\n' "$status" "$dir" >&2
    fi
}
trap finish EXIT

# hook DIRECTORY NAME: a hook program that says what it was told.
hook() {
    mkdir -p "$1"
    cat >"$1/$2"
    chmod +x "$1/$2"
}

step "Install one hook for each level below the client (the client's is in the .aurora file)"
hook "$dir/hooks/job-create-pre.d" announce <<'SH'
#!/bin/sh
echo "about to run $GANETI_OP_CODE on $GANETI_OP_TARGET"
SH
hook "$dir/nodes/node1/p2hooks.d" audit <<'SH'
#!/bin/sh
echo "$HOOK_EVENT of $HOOKED_POD_ID on $HOOKED_NODE"
SH
hook "$dir/nodes/node1/podhooks" initialize <<'SH'
#!/bin/sh
cat >/dev/null
echo '{"note": "the pod is about to start its processes"}'
SH
(cd "$dir" && find hooks nodes -type f)

step "Start a one-machine cluster: store, master and one node"
show davit up --detach --dir "$dir"

step "Create a job from a configuration file, and wait until it runs"
show davit job create --wait-until=RUNNING "$key" examples/hello.aurora

step "Look at it"
show davit job status "$key"

step "Read what instance 0 wrote"
show davit task logs "$key/0"

step "The timeline: every hook that ran, at client, operation, node and pod level"
show davit hook log --job "$key"
for level in client operation node pod; do
    davit hook log --job "$key" --level "$level" --json | grep -q '"outcome":"ok"' ||
        { echo "demo: no hook of level $level in the timeline" >&2; exit 1; }
done

step "Kill it, and stop the cluster"
show davit job killall --no-batching "$key"
show davit job status "$key"
show davit down --dir "$dir"

step "Done: nothing of it runs any more"
