/* passing.h - what ends a wait for a socket: the same for a control message and for a parcel of
   Windows. */
#ifndef PASSING_H
#define PASSING_H

#include "test.h"

typedef struct reception {
    asocket *from, *received;
    int status;
    bool ended;
} reception;

static void receive_one(asocket_selector *owner, void *argument)
{
    reception *own = (reception *)argument;

    own->received = asocket_receive_socket(own->from);
    own->status = own->received ? 0 : asocket_error(owner);
    own->ended = true;
}

/* Nothing comes from it; in the end it is closed. */
static void waits_for_a_socket_end(asocket *from)
{
    asocket_selector *selector = asocket_selector_of(from);
    reception own;
    asocket_job job;

    asocket_set_timeout(from, 20);
    ok(!asocket_receive_socket(from), "P7: no socket comes");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: the time-out ends the wait");
    asocket_set_timeout(from, ASOCKET_NO_WAIT);
    ok(!asocket_receive_socket(from), "P7: none is there");
    is_status(asocket_error(selector), ASOCKET_EAGAIN, "P7: without waiting it is EAGAIN");
    asocket_set_timeout(from, ASOCKET_FOREVER);
    memset(&own, 0, sizeof own);
    own.from = from;
    job = asocket_launch(selector, receive_one, &own);
    asocket_sleep(selector, 5);
    ok(!asocket_receive_socket(from), "P12: a second receiver");
    is_status(asocket_error(selector), ASOCKET_EBUSY, "P12: is told EBUSY");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(own.status, ASOCKET_ECANCELED, "P7: a cancel ends the wait");
    job = asocket_launch(selector, receive_one, &own);
    asocket_sleep(selector, 5);
    asocket_close(from);
    asocket_join(selector, job);
    is_status(own.status, ASOCKET_ECLOSED, "P8: a close ends the wait");
}

#endif
