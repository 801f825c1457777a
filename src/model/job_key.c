/* SPDX-License-Identifier: Apache-2.0 */
/* job_key: CLUSTER/ROLE/ENV/NAME, and patterns of it.
 *
 * Role, env and name become folders of the store, so "." and ".." are refused
 * beyond Aurora's rule.
 */
#include "model/job_key.h"

#include "base/str.h"

#include <fnmatch.h>
#include <string.h>

void job_key_fini(struct job_key *key)
{
    free(key->cluster);
    free(key->role);
    free(key->env);
    free(key->name);
    memset(key, 0, sizeof(*key));
}

bool job_key_part_ok(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > JOB_KEY_PART_MAX || strcmp(s, ".") == 0 || strcmp(s, "..") == 0) {
        return false;
    }
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") == len;
}

void job_key_set(struct job_key *key, const char *cluster, const char *role, const char *env,
                 const char *name)
{
    struct job_key fresh = { mem_strdup(cluster), mem_strdup(role), mem_strdup(env),
                             mem_strdup(name) };

    job_key_fini(key);
    *key = fresh;
}

int job_key_parse(const char *text, struct job_key *key, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, "/");

    if (strv_len(parts) != 4 || parts[0][0] == '\0') {
        return err_set(err, ERR_INVALID, "job key '%.200s' must be CLUSTER/ROLE/ENV/NAME", text);
    }
    for (size_t i = 1; i < 4; i++) {
        if (!job_key_part_ok(parts[i])) {
            return err_set(err, ERR_INVALID, "job key '%.200s': '%.100s' is not a valid %s", text,
                           parts[i],
                           i == 1   ? "role"
                           : i == 2 ? "environment"
                                    : "name");
        }
    }
    job_key_set(key, parts[0], parts[1], parts[2], parts[3]);
    return 0;
}

int job_key_parse_glob(const char *text, struct job_key *key, struct err *err)
{
    CLEANUP(strv_freep) char **parts = str_split(text, "/");
    const char *part[4] = { "*", "*", "*", "*" };
    size_t n = strv_len(parts);

    if (n > 4 || strlen(text) > (size_t)4 * (JOB_KEY_PART_MAX + 1)) {
        return err_set(err, ERR_INVALID, "job pattern '%.200s' has more than 4 parts", text);
    }
    for (size_t i = 0; i < n; i++) {
        if (parts[i][0] != '\0') {
            part[i] = parts[i];
        }
    }
    job_key_set(key, part[0], part[1], part[2], part[3]);
    return 0;
}

char *job_key_text(const struct job_key *key)
{
    return str_printf("%s/%s/%s/%s", key->cluster, key->role, key->env, key->name);
}

static bool part_matches(const char *pattern, const char *part)
{
    return fnmatch(pattern, part, FNM_NOESCAPE) == 0;
}

bool job_key_matches(const struct job_key *pattern, const struct job_key *key)
{
    return part_matches(pattern->cluster, key->cluster) && part_matches(pattern->role, key->role) &&
           part_matches(pattern->env, key->env) && part_matches(pattern->name, key->name);
}
