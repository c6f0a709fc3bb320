/* A network of one's own: nobody else's packets, no firewall rules, nothing left behind. */
#include "common.h"
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

int bench_private_network(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
    int failure = 0, fd;
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        failure = errno;
    if (fd >= 0)
        close(fd);
    return -failure;
}
