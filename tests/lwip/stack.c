/* stack.c - starts lwIP before main, with one interface that leads nowhere but back: 127.0.0.1 and
   ::1. lwIP's thread and its sockets; no packet leaves the process. */
#include <lwip/netif.h>
#include <lwip/tcpip.h>

#include <semaphore.h>

static struct netif loop;
static sem_t started;

static err_t drop4(struct netif *netif, struct pbuf *packet, const ip4_addr_t *to)
{
    (void)netif, (void)packet, (void)to;
    return ERR_RTE;
}

static err_t drop6(struct netif *netif, struct pbuf *packet, const ip6_addr_t *to)
{
    (void)netif, (void)packet, (void)to;
    return ERR_RTE;
}

static err_t loop_init(struct netif *netif)
{
    netif->name[0] = 'l';
    netif->name[1] = 'o';
    netif->mtu = 16436;
    netif->output = drop4;
    netif->output_ip6 = drop6;
    return ERR_OK;
}

static void loop_up(void *unused)
{
    ip4_addr_t address, mask, gateway;

    (void)unused;
    IP4_ADDR(&address, 127, 0, 0, 1);
    IP4_ADDR(&mask, 255, 0, 0, 0);
    IP4_ADDR(&gateway, 127, 0, 0, 1);
    netif_add(&loop, &address, &mask, &gateway, NULL, loop_init, tcpip_input);
    IP6_ADDR(&loop.ip6_addr[0].u_addr.ip6, 0, 0, 0, PP_HTONL(1));
    loop.ip6_addr_state[0] = IP6_ADDR_PREFERRED;
    netif_set_default(&loop);
    netif_set_link_up(&loop);
    netif_set_up(&loop);
    sem_post(&started);
}

__attribute__((constructor)) static void start(void)
{
    sem_init(&started, 0, 0);
    tcpip_init(loop_up, NULL);
    sem_wait(&started);
}
