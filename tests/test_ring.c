/* The pure rooms against models that are too simple to be wrong: the byte ring against an array,
   the timer heap against a list that is searched, lists against an array. The implementation is
   included here, private, so that its inside can be reached. */
#define ASOCKET_STATIC
#define ASOCKET_IMPLEMENTATION
#include "bytes.h"

enum { MOST = 17 }; /* the largest ring that is tried in every state */

/* --- a ring and its model --------------------------------------------------------------------- */

typedef struct model {
    char bytes[64];
    uint32_t size;
} model;

/* A block of exactly the capacity, so that a checker sees what goes past it. */
static void ring_make(asocket__ring *ring, uint32_t capacity)
{
    memset(ring, 0, sizeof *ring);
    ring->data = (char *)malloc(capacity);
    ring->capacity = capacity;
    if (!ring->data)
        abort();
    memset(ring->data, '.', capacity);
}

/* A ring whose first byte lies at `head`, holding the pattern from place 0; an empty one always
   begins at 0. */
static void ring_at(asocket__ring *ring, model *expected, uint32_t capacity, uint32_t head,
                    uint32_t size)
{
    uint32_t i;

    ring_make(ring, capacity);
    pattern_fill(expected->bytes, size, 0);
    expected->size = size;
    ring->head = size ? head : 0;
    ring->size = ring->visible = size;
    for (i = 0; i < size; i++)
        ring->data[(ring->head + i) % capacity] = expected->bytes[i];
}

static bool ring_equals(const asocket__ring *ring, const model *expected)
{
    uint32_t i;

    if (ring->size != expected->size || ring->visible > ring->size || ring->head >= ring->capacity)
        return false;
    for (i = 0; i < ring->size; i++)
        if (ring->data[(ring->head + i) % ring->capacity] != expected->bytes[i])
            return false;
    return ring->size > 0 || ring->head == 0;
}

static void model_append(model *expected, const char *bytes, uint32_t count)
{
    memcpy(expected->bytes + expected->size, bytes, count);
    expected->size += count;
}

static void model_drop(model *expected, uint32_t count)
{
    memmove(expected->bytes, expected->bytes + count, expected->size - count);
    expected->size -= count;
}

/* Calls `look` for every ring of up to MOST bytes in every state. */
static void for_each_state(void (*look)(uint32_t capacity, uint32_t head, uint32_t size))
{
    uint32_t capacity, head, size;

    for (capacity = 1; capacity <= MOST; capacity++)
        for (head = 0; head < capacity; head++)
            for (size = 0; size <= capacity; size++)
                look(capacity, head, size);
}

#define WHERE           "capacity %u, head %u, size %u"
#define THERE           (unsigned)capacity, (unsigned)head, (unsigned)size
#define WHERE_AND(what) WHERE ", " what " %u"

/* --- every state ------------------------------------------------------------------------------ */

static void look_at_pieces(uint32_t capacity, uint32_t head, uint32_t size)
{
    asocket__ring ring;
    model expected;
    uint32_t offset;

    ring_at(&ring, &expected, capacity, head, size);
    check(asocket__ring_free(&ring) == capacity - size, WHERE, THERE);
    for (offset = 0; offset < size; offset++) {
        char *bytes;
        uint32_t length = asocket__ring_piece(&ring, offset, &bytes);
        uint32_t to_the_end = capacity - (ring.head + offset) % capacity;

        check(length == (size - offset < to_the_end ? size - offset : to_the_end) &&
                  !memcmp(bytes, expected.bytes + offset, length),
              WHERE_AND("offset"), THERE, (unsigned)offset);
    }
    free(ring.data);
}

static void look_at_space(uint32_t capacity, uint32_t head, uint32_t size)
{
    asocket__ring ring;
    model expected;
    char *space;
    uint32_t length, at;

    ring_at(&ring, &expected, capacity, head, size);
    length = asocket__ring_space(&ring, &space);
    at = (ring.head + size) % capacity;
    check(length == (capacity - size < capacity - at ? capacity - size : capacity - at), WHERE,
          THERE);
    check(space == ring.data + at && (length > 0 || size == capacity), WHERE, THERE);
    memset(space, '!', length);
    check(ring_equals(&ring, &expected), WHERE ": the space is no content", THERE);
    asocket__ring_extend(&ring, length);
    memset(expected.bytes + size, '!', length);
    expected.size += length;
    check(ring_equals(&ring, &expected), WHERE ": extended", THERE);
    free(ring.data);
}

static void look_at_append(uint32_t capacity, uint32_t head, uint32_t size)
{
    uint32_t count;

    for (count = 0; count <= capacity - size; count++) {
        asocket__ring ring;
        model expected;
        char bytes[MOST];

        ring_at(&ring, &expected, capacity, head, size);
        pattern_fill(bytes, count, 1000);
        asocket__ring_append(&ring, bytes, count);
        model_append(&expected, bytes, count);
        check(ring_equals(&ring, &expected), WHERE_AND("appended"), THERE, (unsigned)count);
        check(ring.visible == size, WHERE ": what is appended is not visible yet", THERE);
        free(ring.data);
    }
}

static void look_at_take(uint32_t capacity, uint32_t head, uint32_t size)
{
    uint32_t count;

    for (count = 0; count <= size; count++) {
        asocket__ring ring;
        model expected;
        char bytes[MOST + 1];

        ring_at(&ring, &expected, capacity, head, size);
        memset(bytes, '?', sizeof bytes);
        asocket__ring_take(&ring, bytes, count);
        check(!memcmp(bytes, expected.bytes, count) && bytes[count] == '?', WHERE_AND("taken"),
              THERE, (unsigned)count);
        model_drop(&expected, count);
        check(ring_equals(&ring, &expected), WHERE_AND("left after"), THERE, (unsigned)count);
        free(ring.data);
    }
}

static void look_at_drop(uint32_t capacity, uint32_t head, uint32_t size)
{
    uint32_t count, visible;

    for (count = 0; count <= size; count++) {
        for (visible = 0; visible <= size; visible++) {
            asocket__ring ring;
            model expected;

            ring_at(&ring, &expected, capacity, head, size);
            ring.visible = visible;
            asocket__ring_drop(&ring, count);
            model_drop(&expected, count);
            check(ring_equals(&ring, &expected), WHERE_AND("dropped"), THERE, (unsigned)count);
            check(ring.visible == (visible > count ? visible - count : 0), WHERE_AND("visible"),
                  THERE, (unsigned)visible);
            free(ring.data);
        }
    }
}

static void look_at_straighten(uint32_t capacity, uint32_t head, uint32_t size)
{
    asocket__ring ring;
    model expected;
    char *bytes;

    ring_at(&ring, &expected, capacity, head, size);
    asocket__ring_straighten(&ring);
    check(ring_equals(&ring, &expected) && ring.head == 0 && ring.visible == size, WHERE, THERE);
    check(asocket__ring_piece(&ring, 0, &bytes) == size, WHERE ": one piece", THERE);
    free(ring.data);
}

static void test_every_state(void)
{
    for_each_state(look_at_pieces);
    checked("a ring's pieces and its free bytes, in every state of every capacity up to 17");
    for_each_state(look_at_space);
    checked("the space behind the last byte, and taking it over");
    for_each_state(look_at_append);
    checked("appending every number of bytes that fit, across the wrap");
    for_each_state(look_at_take);
    checked("taking every number of bytes, across the wrap");
    for_each_state(look_at_drop);
    checked("dropping every number of bytes; the visible ones go first");
    for_each_state(look_at_straighten);
    checked("straightening brings all into one piece and keeps every byte");
}

/* --- find ------------------------------------------------------------------------------------- */

/* The first place at or after `from` where the delimiter stands whole within `visible`, or -1. */
static int64_t model_find(const model *content, uint32_t visible, uint32_t from,
                          const char *delimiter, uint32_t length)
{
    for (; from + length <= visible; from++)
        if (!memcmp(content->bytes + from, delimiter, length))
            return from;
    return -1;
}

/* One search. After a miss it must go on exactly where a delimiter could still begin. */
static void compare_find(const asocket__ring *ring, const model *content, uint32_t from,
                         const char *delimiter, uint32_t length)
{
    int64_t expected = model_find(content, ring->visible, from, delimiter, length);
    uint32_t last = ring->visible >= length ? ring->visible - length + 1 : 0;
    uint32_t on = asocket__ring_find(ring, from, delimiter, length);
    int64_t found = on + length <= ring->visible ? (int64_t)on : -1;

    check(found == expected, "capacity %u, head %u, visible %u, from %u, length %u: %d for %d",
          (unsigned)ring->capacity, (unsigned)ring->head, (unsigned)ring->visible, (unsigned)from,
          (unsigned)length, (int)found, (int)expected);
    if (expected < 0)
        check(on == (from > last ? from : last), "after a miss the search goes on at %u, not %u",
              (unsigned)(from > last ? from : last), (unsigned)on);
}

/* A delimiter at one offset of a full ring, with each number of bytes visible so far. */
static void find_at(uint32_t capacity, uint32_t head, uint32_t offset, uint32_t length)
{
    static const char delimiter[] = "abcd";
    asocket__ring ring;
    model content;
    uint32_t i, from, step = test_slowness() > 4 ? 3 : 1;

    ring_at(&ring, &content, capacity, head, capacity);
    memset(content.bytes, 'a', capacity); /* each byte looks like the beginning of one */
    memset(content.bytes, 'x', offset > 2 ? offset - 2 : 0);
    memcpy(content.bytes + offset, delimiter, length);
    for (i = 0; i < capacity; i++)
        ring.data[(head + i) % capacity] = content.bytes[i];
    for (ring.visible = 0; ring.visible <= capacity; ring.visible++)
        for (from = 0; from <= ring.visible; from += step)
            compare_find(&ring, &content, from, delimiter, length);
    free(ring.data);
}

static void test_find(void)
{
    uint32_t capacity, head, offset, length;

    for (capacity = 1; capacity <= MOST; capacity += 2)
        for (head = 0; head < capacity; head++)
            for (length = 1; length <= 4; length++)
                for (offset = 0; offset + length <= capacity; offset++)
                    find_at(capacity, head, offset, length);
    checked("delimiters of 1 to 4 bytes are found at every offset across the wrap");
}

/* Content and delimiters of two letters: many near misses, many that overlap themselves. */
static void test_find_random(void)
{
    uint32_t seed = 2463534242u, round, i;

    for (round = 0; round < 20000; round++) {
        asocket__ring ring;
        model content;
        char delimiter[4];
        uint32_t capacity = 1 + random_below(&seed, MOST);

        ring_at(&ring, &content, capacity, random_below(&seed, capacity), capacity);
        for (i = 0; i < capacity; i++)
            content.bytes[i] = "ab"[random_below(&seed, 2)];
        for (i = 0; i < capacity; i++)
            ring.data[(ring.head + i) % capacity] = content.bytes[i];
        for (i = 0; i < 4; i++)
            delimiter[i] = "ab"[random_below(&seed, 2)];
        ring.visible = random_below(&seed, capacity + 1);
        for (i = 1; i <= 4; i++)
            compare_find(&ring, &content, random_below(&seed, ring.visible + 1), delimiter, i);
        free(ring.data);
    }
    checked("random delimiters in random content are found where a plain search finds them");
}

/* --- any sequence ----------------------------------------------------------------------------- */

static void random_append(asocket__ring *ring, model *expected, uint32_t *seed)
{
    uint32_t count = random_below(seed, asocket__ring_free(ring) + 1);
    char bytes[64];

    pattern_fill(bytes, count, random_next(seed));
    if (random_below(seed, 2)) {
        asocket__ring_append(ring, bytes, count);
    } else { /* by hand, as much as lies in one piece */
        char *space;
        uint32_t length = asocket__ring_space(ring, &space);

        count = count < length ? count : length;
        memcpy(space, bytes, count);
        asocket__ring_extend(ring, count);
    }
    model_append(expected, bytes, count);
    if (random_below(seed, 2))
        ring->visible = ring->size;
}

static void random_removal(asocket__ring *ring, model *expected, uint32_t *seed)
{
    uint32_t count = random_below(seed, ring->size + 1);
    char bytes[64];

    if (random_below(seed, 2)) {
        asocket__ring_drop(ring, count);
    } else {
        asocket__ring_take(ring, bytes, count);
        check(!memcmp(bytes, expected->bytes, count), "what is taken is what comes next");
    }
    model_drop(expected, count);
}

static void random_walk(uint32_t capacity, uint32_t seed, int steps)
{
    asocket__ring ring;
    model expected;

    ring_at(&ring, &expected, capacity, 0, 0);
    while (steps-- > 0) {
        switch (random_below(&seed, 5)) {
        case 0:
        case 1: random_append(&ring, &expected, &seed); break;
        case 2:
        case 3: random_removal(&ring, &expected, &seed); break;
        default: asocket__ring_straighten(&ring); break;
        }
        if (!check(ring_equals(&ring, &expected), "capacity %u: %d steps before the end",
                   (unsigned)capacity, steps))
            break;
    }
    free(ring.data);
}

static void test_any_sequence(void)
{
    uint32_t capacity;

    for (capacity = 1; capacity <= 40; capacity++)
        random_walk(capacity, 88675123u + capacity, 1500);
    checked("any sequence of appends, takes, drops and straightenings keeps every byte");
}

/* --- the heap --------------------------------------------------------------------------------- */

enum { TIMERS = 60 };

typedef struct clockwork {
    asocket__heap heap;
    asocket__timer timers[TIMERS];
    int64_t due[TIMERS]; /* the model: ASOCKET_NEVER when it is not running */
    int64_t now;
} clockwork;

static void clockwork_make(clockwork *c)
{
    int i;

    memset(c, 0, sizeof *c);
    c->heap.capacity = TIMERS + 1;
    c->heap.entries = (asocket__heap_entry *)malloc((TIMERS + 1) * sizeof *c->heap.entries);
    if (!c->heap.entries)
        abort();
    for (i = 0; i < TIMERS; i++)
        c->timers[i].due = c->due[i] = ASOCKET_NEVER;
}

static int64_t model_next(const clockwork *c)
{
    int64_t least = ASOCKET_NEVER;
    int i;

    for (i = 0; i < TIMERS; i++)
        if (c->due[i] < least)
            least = c->due[i];
    return least;
}

/* Parents before children, keys never later than the timers, each timer where it says it is. */
static bool heap_is_sound(const clockwork *c)
{
    const asocket__heap *heap = &c->heap;
    uint32_t i;
    int placed = 0, t;

    for (i = 1; i <= heap->count; i++) {
        const asocket__heap_entry *entry = &heap->entries[i];

        if (entry->timer->position != i || entry->key > entry->timer->due)
            return false;
        if (i > 1 && heap->entries[(i + 2) / 4].key > entry->key)
            return false;
    }
    for (t = 0; t < TIMERS; t++) {
        placed += c->timers[t].position != 0;
        if (!c->timers[t].position && c->due[t] != ASOCKET_NEVER)
            return false;
    }
    return placed == (int)heap->count;
}

static void timer_start(clockwork *c, int i, int64_t due)
{
    asocket__heap_start(&c->heap, &c->timers[i], due);
    c->due[i] = due;
}

/* As a wake does: the timer stays in the heap under its old key. */
static void timer_stop_lazily(clockwork *c, int i)
{
    c->timers[i].due = c->due[i] = ASOCKET_NEVER;
}

static void timer_remove(clockwork *c, int i)
{
    asocket__heap_remove(&c->heap, &c->timers[i]);
    c->timers[i].due = c->due[i] = ASOCKET_NEVER;
}

/* Fires all that are due, in their order. */
static void timers_fire(clockwork *c)
{
    int64_t next, last = INT64_MIN;

    while ((next = asocket__heap_next(&c->heap)) <= c->now && next != ASOCKET_NEVER) {
        asocket__timer *timer = c->heap.entries[1].timer;
        int i = (int)(timer - c->timers);

        check(next == c->due[i] && next == model_next(c) && next >= last,
              "the next to fire is the earliest");
        last = next;
        timer_remove(c, i);
    }
    check(model_next(c) > c->now, "all that is due has fired");
}

static void random_timer_step(clockwork *c, uint32_t *seed)
{
    int i = (int)random_below(seed, TIMERS);

    switch (random_below(seed, 8)) {
    case 0:
    case 1:
    case 2: timer_start(c, i, c->now + 1 + random_below(seed, 100)); break;
    case 3: timer_start(c, i, c->now + 1 + random_below(seed, 5)); break; /* many at one time */
    case 4: timer_stop_lazily(c, i); break;
    case 5: timer_remove(c, i); break;
    case 6: check(asocket__heap_next(&c->heap) == model_next(c), "the next due time"); break;
    default:
        c->now += random_below(seed, 8);
        timers_fire(c);
        break;
    }
}

static void test_heap(void)
{
    uint32_t seed = 521288629u;
    clockwork c;
    int step;

    clockwork_make(&c);
    for (step = 0; step < 60000; step++) {
        random_timer_step(&c, &seed);
        if (!check(heap_is_sound(&c), "the heap is sound after step %d", step))
            break;
    }
    free(c.heap.entries);
    checked("P11: timers that start, stop and move in any order fire in the order of their times");
}

/* A time-out that is moved on for ever and never fires costs no work in the heap. */
static void test_heap_lazy(void)
{
    clockwork c;
    int i;

    clockwork_make(&c);
    timer_start(&c, 0, 10);
    timer_start(&c, 1, 20);
    for (i = 0; i < 100; i++)
        timer_start(&c, 0, 100 + i);
    check(c.heap.entries[1].key == 10 && c.timers[0].position == 1, "it stays where it was");
    check(asocket__heap_next(&c.heap) == 20, "until somebody looks");
    check(c.heap.entries[1].timer == &c.timers[1], "then the other one is on top");
    timer_stop_lazily(&c, 1);
    check(asocket__heap_next(&c.heap) == 199, "one that was stopped is dropped there");
    check(c.heap.count == 1 && !c.timers[1].position, "and is no longer kept");
    timer_start(&c, 0, 5);
    check(asocket__heap_next(&c.heap) == 5, "an earlier time is put right at once");
    timer_remove(&c, 0);
    timer_remove(&c, 0);
    check(asocket__heap_next(&c.heap) == ASOCKET_NEVER && !c.heap.count, "removed twice");
    free(c.heap.entries);
    checked("a timer that moves to later times costs two stores until it comes to the top");
}

/* --- lists ------------------------------------------------------------------------------------ */

enum { LINKS = 8 };

typedef struct node {
    int number;
    asocket__link link;
} node;

/* Whether the list holds exactly these numbers, forwards and backwards. */
static bool list_is(const asocket__link *list, const int *numbers, int count)
{
    const asocket__link *forwards = list->next, *backwards = list->previous;
    int i;

    if (asocket__list_empty(list) != (count == 0))
        return false;
    for (i = 0; i < count; i++) {
        if (forwards == list || ASOCKET__OF(node, link, forwards)->number != numbers[i])
            return false;
        if (backwards == list ||
            ASOCKET__OF(node, link, backwards)->number != numbers[count - 1 - i])
            return false;
        forwards = forwards->next;
        backwards = backwards->previous;
    }
    return forwards == list && backwards == list;
}

typedef struct lists {
    node nodes[LINKS];
    asocket__link heads[2];
    int numbers[2][LINKS], count[2];
} lists;

static void lists_forget(lists *l, int number)
{
    int which, i;

    for (which = 0; which < 2; which++)
        for (i = 0; i < l->count[which]; i++)
            if (l->numbers[which][i] == number) {
                memmove(&l->numbers[which][i], &l->numbers[which][i + 1],
                        (size_t)(l->count[which] - i - 1) * sizeof(int));
                l->count[which]--;
                return;
            }
}

static void random_list_step(lists *l, uint32_t *seed)
{
    int number = (int)random_below(seed, LINKS), to = (int)random_below(seed, 2), from = 1 - to;

    if (random_below(seed, 8) == 0) {
        while (!asocket__list_empty(&l->heads[from])) {
            asocket__link *first = l->heads[from].next;

            asocket__list_remove(first);
            asocket__list_append(&l->heads[to], first);
        }
        memcpy(&l->numbers[to][l->count[to]], l->numbers[from],
               (size_t)l->count[from] * sizeof(int));
        l->count[to] += l->count[from];
        l->count[from] = 0;
        return;
    }
    asocket__list_remove(&l->nodes[number].link); /* harmless when it is in none */
    lists_forget(l, number);
    if (random_below(seed, 4) == 0)
        return;
    asocket__list_append(&l->heads[to], &l->nodes[number].link);
    l->numbers[to][l->count[to]++] = number;
}

static void test_lists(void)
{
    uint32_t seed = 362436069u;
    lists l;
    int i;

    memset(&l, 0, sizeof l);
    for (i = 0; i < LINKS; i++) {
        l.nodes[i].number = i;
        asocket__list_init(&l.nodes[i].link);
    }
    asocket__list_init(&l.heads[0]);
    asocket__list_init(&l.heads[1]);
    for (i = 0; i < 5000; i++) {
        random_list_step(&l, &seed);
        if (!check(list_is(&l.heads[0], l.numbers[0], l.count[0]) &&
                       list_is(&l.heads[1], l.numbers[1], l.count[1]),
                   "both lists after step %d", i))
            break;
    }
    checked("lists keep their order through appends, removals and moves of all");
}

int main(void)
{
    test_every_state();
    test_find();
    test_find_random();
    test_any_sequence();
    test_heap();
    test_heap_lazy();
    test_lists();
    return done_testing();
}
