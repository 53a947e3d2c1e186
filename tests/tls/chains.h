/* chains.h - chains.tsv, line by line. After private_tls.h. */
#ifndef TEST_CHAINS_H
#define TEST_CHAINS_H

#define CHAINS "tests/tls/chains.tsv"
#define RANDOM CERTIFICATES "random.tsv"
#define NOW    INT64_C(1781524800) /* 2026-06-15 12:00:00, when all of it is looked at */

struct row { /* of chains.tsv */
    char name[64], host[300], verdict[32], words[200], options[100];
};

static const char *const reasons[] = {"OK",
#define NAME_OF(name, step, status, text) #name,
                                      ASOCKET_TLS_REASONS(NAME_OF)};

static inline bool row_read(char *line, struct row *out)
{
    char *fields[5] = {out->name, out->host, out->verdict, out->words, out->options};
    size_t sizes[5] = {sizeof out->name, sizeof out->host, sizeof out->verdict, sizeof out->words,
                       sizeof out->options};
    size_t i;

    memset(out, 0, sizeof *out);
    line[strcspn(line, "\n")] = 0;
    if (!*line || *line == '#')
        return false;
    for (i = 0; i < 5 && line; i++) {
        char *tab = strchr(line, '\t');

        if (tab)
            *tab = 0;
        snprintf(fields[i], sizes[i], "%s", line);
        line = tab ? tab + 1 : NULL;
    }
    return true;
}

static inline const char *option(const struct row *row, const char *name)
{
    const char *at = strstr(row->options, name);

    return at ? at + strlen(name) : NULL;
}

static inline bool has_words(const char *sentence, const char *words)
{
    while (*words) {
        size_t length = strcspn(words, ";");
        char word[200];

        memcpy(word, words, length);
        word[length] = 0;
        if (!strstr(sentence, word))
            return false;
        words += length + (words[length] == ';');
    }
    return true;
}

/* Calls `look` for each row of a table, or the one of this name: how many there were. */
static inline int rows_each(const char *path, const char *name, void (*look)(const struct row *row))
{
    FILE *table = fopen(path, "r");
    char line[1024];
    struct row row;
    int rows = 0;

    if (!table)
        skip_all("it runs in the directory of the project");
    while (fgets(line, sizeof line, table))
        if (row_read(line, &row) && (!name || strcmp(name, row.name) == 0)) {
            look(&row);
            rows++;
        }
    fclose(table);
    return rows;
}

#endif
