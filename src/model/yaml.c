/* SPDX-License-Identifier: Apache-2.0 */
/* yaml: JSON values out of YAML text, and YAML text out of JSON values.
 *
 * The only file that knows libyaml.  Not a general YAML reader: what a manifest
 * or a configuration needs, and nothing by which a document could mean something
 * else to another reader (anchors, tags, `yes`), or grow on being read (aliases).
 *
 * Happy path: libyaml's events are read one after the other; read_node() builds
 * the value of the event at hand and recurses for its children.
 * Failures: whatever libyaml or the rules refuse is ERR_INVALID with the place.
 * Invariant: the depth is bounded before any recursion.
 */
#include "model/yaml.h"

#include "base/buf.h"
#include "base/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* The one at hand; owned. */
    struct err *err;
};

static int complain(struct reader *reader, const char *what)
{
    return err_set(reader->err, ERR_INVALID, "line %zu column %zu: %s",
                   reader->event.start_mark.line + 1, reader->event.start_mark.column + 1, what);
}

/* Go on to the next event. */
static int advance(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(&reader->parser, &reader->event) == 0) {
        memset(&reader->event, 0, sizeof(reader->event));
        return err_set(reader->err, ERR_INVALID, "line %zu column %zu: %s",
                       reader->parser.problem_mark.line + 1, reader->parser.problem_mark.column + 1,
                       reader->parser.problem != NULL ? reader->parser.problem : "not YAML");
    }
    return 0;
}

/* A decimal integer or float as JSON has them, nothing more. */
static bool number_shaped(const char *s, bool *ret_real)
{
    *ret_real = false;
    if (*s == '-') {
        s++;
    }
    if (*s == '0' && s[1] >= '0' && s[1] <= '9') {
        return false; /* 0644 is text: readers disagree about its base. */
    }
    if (strspn(s, "0123456789") == 0) {
        return false;
    }
    s += strspn(s, "0123456789");
    if (*s == '.') {
        *ret_real = true;
        s++;
        if (strspn(s, "0123456789") == 0) {
            return false;
        }
        s += strspn(s, "0123456789");
    }
    if (*s == 'e' || *s == 'E') {
        *ret_real = true;
        s++;
        if (*s == '+' || *s == '-') {
            s++;
        }
        if (strspn(s, "0123456789") == 0) {
            return false;
        }
        s += strspn(s, "0123456789");
    }
    return *s == '\0';
}

/* The value of an unquoted scalar; NULL when it is text. */
static json_t *plain_value(const char *text)
{
    bool real;

    if (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0) {
        return json_null();
    }
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        return json_boolean(text[0] == 't');
    }
    if (!number_shaped(text, &real)) {
        return NULL;
    }
    errno = 0;
    if (!real) {
        long long value = strtoll(text, NULL, 10);

        return errno == 0 ? json_integer(value) : NULL;
    }
    /* json_real() refuses infinities: 1e999 stays text. */
    return json_real(strtod(text, NULL));
}

static int read_node(struct reader *reader, int depth, json_t **ret_json);

static int read_scalar(struct reader *reader, json_t **ret_json)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t len = reader->event.data.scalar.length;
    json_t *value = NULL;

    if (reader->event.data.scalar.anchor != NULL || reader->event.data.scalar.tag != NULL) {
        return complain(reader, "anchors and tags are not supported");
    }
    if (strlen(text) != len) {
        return complain(reader, "a NUL character is not supported");
    }
    if (reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        value = plain_value(text);
    }
    if (value == NULL) {
        value = json_stringn(text, len);
    }
    if (value == NULL) {
        return complain(reader, "text is not UTF-8");
    }
    *ret_json = value;
    return 0;
}

static int read_sequence(struct reader *reader, int depth, json_t **ret_json)
{
    CLEANUP(json_freep) json_t *array = json_array();

    if (reader->event.data.sequence_start.anchor != NULL ||
        reader->event.data.sequence_start.tag != NULL) {
        return complain(reader, "anchors and tags are not supported");
    }
    if (advance(reader) < 0) {
        return reader->err->code;
    }
    while (reader->event.type != YAML_SEQUENCE_END_EVENT) {
        json_t *item = NULL;

        if (read_node(reader, depth + 1, &item) < 0) {
            return reader->err->code;
        }
        json_array_append_new(array, item);
        if (advance(reader) < 0) {
            return reader->err->code;
        }
    }
    *ret_json = TAKE(array);
    return 0;
}

static int read_key(struct reader *reader, const json_t *object, char **ret_key)
{
    const char *text = (const char *)reader->event.data.scalar.value;

    if (reader->event.type != YAML_SCALAR_EVENT) {
        return complain(reader, "a key must be text");
    }
    if (reader->event.data.scalar.anchor != NULL || reader->event.data.scalar.tag != NULL) {
        return complain(reader, "anchors and tags are not supported");
    }
    if (strlen(text) != reader->event.data.scalar.length) {
        return complain(reader, "a NUL character is not supported");
    }
    if (reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0) {
        return complain(reader, "merge keys are not supported");
    }
    if (json_object_get(object, text) != NULL) {
        return complain(reader, "the key stands here a second time");
    }
    *ret_key = mem_strdup(text);
    return 0;
}

static int read_mapping(struct reader *reader, int depth, json_t **ret_json)
{
    CLEANUP(json_freep) json_t *object = json_object();

    if (reader->event.data.mapping_start.anchor != NULL ||
        reader->event.data.mapping_start.tag != NULL) {
        return complain(reader, "anchors and tags are not supported");
    }
    if (advance(reader) < 0) {
        return reader->err->code;
    }
    while (reader->event.type != YAML_MAPPING_END_EVENT) {
        CLEANUP(mem_freep) char *key = NULL;
        json_t *value = NULL;

        if (read_key(reader, object, &key) < 0 || advance(reader) < 0 ||
            read_node(reader, depth + 1, &value) < 0) {
            return reader->err->code;
        }
        if (json_object_set_new(object, key, value) < 0) {
            return complain(reader, "the key is not UTF-8");
        }
        if (advance(reader) < 0) {
            return reader->err->code;
        }
    }
    *ret_json = TAKE(object);
    return 0;
}

/* The value that begins at the event at hand; leaves its last event at hand. */
static int read_node(struct reader *reader, int depth, json_t **ret_json)
{
    if (depth > YAML_MAX_DEPTH) {
        return complain(reader, "nested too deep");
    }
    if (reader->event.type == YAML_SCALAR_EVENT) {
        return read_scalar(reader, ret_json);
    }
    if (reader->event.type == YAML_SEQUENCE_START_EVENT) {
        return read_sequence(reader, depth, ret_json);
    }
    if (reader->event.type == YAML_MAPPING_START_EVENT) {
        return read_mapping(reader, depth, ret_json);
    }
    if (reader->event.type == YAML_ALIAS_EVENT) {
        return complain(reader, "aliases are not supported");
    }
    return complain(reader, "a value is missing");
}

static int read_stream(struct reader *reader, json_t **ret_json)
{
    CLEANUP(json_freep) json_t *value = NULL;

    for (int i = 0; i < 2; i++) { /* STREAM-START, then what it holds. */
        if (advance(reader) < 0) {
            return reader->err->code;
        }
    }
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        *ret_json = json_null();
        return 0;
    }
    if (reader->event.data.document_start.version_directive != NULL ||
        reader->event.data.document_start.tag_directives.start !=
            reader->event.data.document_start.tag_directives.end) {
        return complain(reader, "directives are not supported");
    }
    if (advance(reader) < 0 || read_node(reader, 1, &value) < 0 || advance(reader) < 0 ||
        advance(reader) < 0) {
        return reader->err->code;
    }
    if (reader->event.type != YAML_STREAM_END_EVENT) {
        return complain(reader, "a second document is not supported");
    }
    *ret_json = TAKE(value);
    return 0;
}

int yaml_parse(const char *text, size_t len, size_t cap, json_t **ret_json, struct err *err)
{
    struct reader reader = { .err = err };
    int code;

    if (len > cap) {
        return err_set(err, ERR_TOOBIG, "YAML of %zu bytes is larger than %zu", len, cap);
    }
    if (yaml_parser_initialize(&reader.parser) == 0) {
        abort(); /* Out of memory. */
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    code = read_stream(&reader, ret_json);
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    return code;
}

/* ---- Writing ---- */

static int on_write(void *data, unsigned char *bytes, size_t len)
{
    buf_add(data, bytes, len);
    return 1;
}

/* libyaml's emitter fails for want of memory or on events out of order only. */
static void emit(yaml_emitter_t *emitter, yaml_event_t *event, int made)
{
    if (made == 0 || yaml_emitter_emit(emitter, event) == 0) {
        abort();
    }
}

/* Would another reader of YAML, of whatever version, take it for something else than text? */
static bool must_quote(const char *text)
{
    static const char *const words[] = { "true", "false", "null", "yes",   "no",
                                         "on",   "off",   "y",    "n",     ".inf",
                                         "=",    "<<",    ".nan", "-.inf", "+.inf" };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            return true;
        }
    }
    return text[0] == '\0' || strcmp(text, "~") == 0 || strchr("0123456789+-.", text[0]) != NULL ||
           strpbrk(text, "\n\r\t") != NULL;
}

static void emit_text(yaml_emitter_t *emitter, const char *text, size_t len, bool plain)
{
    yaml_event_t event;
    yaml_scalar_style_t style = plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE;

    emit(emitter, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len, 1, 1,
                                      style));
}

static void emit_string(yaml_emitter_t *emitter, const char *text, size_t len)
{
    emit_text(emitter, text, len, !must_quote(text));
}

/* As few digits as give the same number back, and a point, so that it stays a float. */
static void format_real(double value, char *ret, size_t size)
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(ret, size - 3, "%.*g", digits, value);
        if (strtod(ret, NULL) == value) {
            break;
        }
    }
    if (strpbrk(ret, ".e") == NULL) {
        memcpy(ret + strlen(ret), ".0", 3); /* Three bytes were kept free for it. */
    }
}

static void emit_node(yaml_emitter_t *emitter, const json_t *json)
{
    yaml_event_t event;
    char number[64];
    const char *key;
    json_t *value;
    size_t i;

    switch (json_typeof(json)) {
    case JSON_OBJECT:
        emit(emitter, &event,
             yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
        json_object_foreach((json_t *)json, key, value)
        {
            emit_string(emitter, key, strlen(key));
            emit_node(emitter, value);
        }
        emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
        break;
    case JSON_ARRAY:
        emit(
            emitter, &event,
            yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
        json_array_foreach(json, i, value)
        {
            emit_node(emitter, value);
        }
        emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
        break;
    case JSON_STRING:
        emit_string(emitter, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        (void)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        emit_text(emitter, number, strlen(number), true);
        break;
    case JSON_REAL:
        format_real(json_real_value(json), number, sizeof(number));
        emit_text(emitter, number, strlen(number), true);
        break;
    case JSON_TRUE:
        emit_text(emitter, "true", 4, true);
        break;
    case JSON_FALSE:
        emit_text(emitter, "false", 5, true);
        break;
    case JSON_NULL:
        emit_text(emitter, "null", 4, true);
        break;
    }
}

char *yaml_text(const json_t *json)
{
    CLEANUP_BUF out = { 0 };
    yaml_emitter_t emitter;
    yaml_event_t event;

    if (yaml_emitter_initialize(&emitter) == 0) {
        abort(); /* Out of memory. */
    }
    yaml_emitter_set_output(&emitter, on_write, &out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1); /* No folding: one value, one line. */
    emit(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&emitter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit_node(&emitter, json);
    emit(&emitter, &event, yaml_document_end_event_initialize(&event, 1));
    emit(&emitter, &event, yaml_stream_end_event_initialize(&event));
    yaml_emitter_delete(&emitter);
    return buf_take(&out);
}
