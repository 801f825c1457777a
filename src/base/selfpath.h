/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where davit's own parts are: beside this program when installed, in the
 * build tree when run from there.  All results are the caller's. */

/* "store" -> path of davit-store: DAVIT_BINDIR, else beside this program, else
 * ../store/ (the build tree has one directory per room). */
char *selfpath_program(const char *name);

/* The directory to put on a guest's module path: DAVIT_PYTHONPATH, else
 * <prefix>/share/davit/python, else the source tree's python/. */
char *selfpath_python(void);

/* The interpreter for guests: DAVIT_PYTHON, else /usr/bin/python3. */
const char *selfpath_interpreter(void);
