/* SPDX-License-Identifier: Apache-2.0 */
#include "store/znode.h"

#include "test.h"

#include <stdio.h>
#include <string.h>

static struct acl *open_acl(struct znode_tree *tree)
{
    struct jute_acl all = { ACL_ALL, (char *)"world", (char *)"anyone" };

    return acl_intern(&tree->acls, &all, 1);
}

static struct znode *add(struct znode_tree *tree, struct znode *parent, const char *name)
{
    return znode_add_take(tree, parent, name, strlen(name), (struct jute_bytes){ NULL, 0 },
                          open_acl(tree));
}

static void finds_what_was_added(void **state)
{
    (void)state;
    struct znode_tree tree;

    znode_tree_init(&tree, 42);
    znode_tree_plant(&tree);
    struct znode *a = add(&tree, tree.root, "a");
    struct znode *b = add(&tree, a, "b");

    assert_ptr_equal(znode_find(&tree, "/"), tree.root);
    assert_ptr_equal(znode_find(&tree, "/a/b"), b);
    assert_null(znode_find(&tree, "/b"));
    assert_null(znode_find(&tree, "/a/"));
    assert_null(znode_find(&tree, "a"));
    assert_null(znode_find(&tree, "//a"));
    assert_non_null(znode_find(&tree, "/zookeeper/quota"));
    znode_tree_fini(&tree);
}

static void path_is_the_way_back(void **state)
{
    (void)state;
    CLEANUP_BUF path = { 0 };
    struct znode_tree tree;

    znode_tree_init(&tree, 1);
    znode_tree_plant(&tree);
    struct znode *b = add(&tree, add(&tree, tree.root, "aa"), "b");

    znode_path(b, &path);
    assert_string_equal(path.data, "/aa/b");
    buf_clear(&path);
    znode_path(tree.root, &path);
    assert_string_equal(path.data, "/");
    znode_tree_fini(&tree);
}

static void survives_growing(void **state)
{
    (void)state;
    struct znode_tree tree;
    char name[32];

    znode_tree_init(&tree, 7);
    znode_tree_plant(&tree);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        (void)add(&tree, tree.root, name);
    }
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof name, "/n%d", i);
        assert_non_null(znode_find(&tree, name));
    }
    assert_int_equal(tree.root->n_children, 5001);
    znode_tree_fini(&tree);
}

/* A node that the ledger never heard of leaves nothing to do there. */
static void born_and_dead_between_commits_is_nothing(void **state)
{
    (void)state;
    struct znode_tree tree;

    znode_tree_init(&tree, 7);
    znode_tree_plant(&tree);
    znode_log_clear(&tree);
    struct znode *a = add(&tree, tree.root, "a");

    znode_log_change(&tree, a, ZNODE_NEW);
    znode_unlink(&tree, a);
    znode_log_end(&tree, a);
    znode_free(&tree, a);
    assert_null(tree.log.dirty);
    assert_int_equal(tree.log.n_dead, 0);
    znode_tree_fini(&tree);
}

static void stat_counts_creates_and_deletes(void **state)
{
    (void)state;
    struct znode_tree tree;

    znode_tree_init(&tree, 7);
    znode_tree_plant(&tree);
    assert_int_equal(znode_stat(tree.root).cversion, -1); /* as a fresh ZooKeeper's */
    tree.root->created = 3;
    assert_int_equal(znode_stat(tree.root).cversion, 5);
    znode_tree_fini(&tree);
}

static void path_rules(void **state)
{
    (void)state;
    static const char *const GOOD[] = { "/", "/a", "/a/b", "/...", "/a.b", "/gr\xc3\xb6\xc3\x9f" };
    static const char *const BAD[] = { "",
                                       "a",
                                       "/a/",
                                       "//",
                                       "/a//b",
                                       "/.",
                                       "/..",
                                       "/a/../b",
                                       "/a\x1f",
                                       "/\x7f",
                                       "/\xc2\x80",
                                       "/\xee\x80\x80",
                                       "/\xff",
                                       "/\xc3",
                                       "/\xf0\x9f\x98\x80",
                                       "/\xef\xbf\xbf",
                                       "/\xc0\x80" };

    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        assert_true(znode_path_valid(GOOD[i]));
    }
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_false(znode_path_valid(BAD[i]));
    }
}

static void equal_acls_are_one(void **state)
{
    (void)state;
    struct acl_table table = { 0 };
    struct jute_acl one = { 1, (char *)"digest", (char *)"u:x" };
    struct acl *first = acl_intern(&table, &one, 1);
    struct acl *second = acl_intern(&table, &one, 1);

    assert_ptr_equal(first, second);
    acl_unref(&table, first);
    assert_int_equal(second->refs, 1);
    acl_unref(&table, second);
    assert_null(table.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added),
        cmocka_unit_test(path_is_the_way_back),
        cmocka_unit_test(survives_growing),
        cmocka_unit_test(born_and_dead_between_commits_is_nothing),
        cmocka_unit_test(stat_counts_creates_and_deletes),
        cmocka_unit_test(path_rules),
        cmocka_unit_test(equal_acls_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
