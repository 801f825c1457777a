/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `davit-store copy FROM TO`: argv[0] is "copy".  Gives back the exit status. */
int zcopy_main(int argc, char **argv);
