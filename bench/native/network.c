/* A network of one's own: nobody else's packets, no firewall rules, nothing left behind. */
#include "common.h"
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

int bench_private_network(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
    int before = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int failure = 0, fd;
    if (before < 0)
        return -errno;
    if (unshare(CLONE_NEWNET) < 0) {
        failure = errno;
        close(before);
        return -failure;
    }
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) {
        failure = errno;
        if (setns(before, CLONE_NEWNET) < 0)  /* a network without loopback is of no use */
            failure = errno == EPERM ? EIO : errno;
    }
    if (fd >= 0)
        close(fd);
    close(before);
    return -failure;
}
