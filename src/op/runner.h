/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* davit-op proper: carries one operation through its life, on the channel fd to the master.
 * Returns the exit status: 0 when the operation is over, 1 when it had to be given up. */
int runner_main(int fd);
