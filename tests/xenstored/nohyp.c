/* Preloaded into Debian's unmodified C xenstored (4.17), so that it runs where there is no Xen. It stands in for the few
 * functions of libxenctrl, libxengnttab and libxenevtchn that would reach the hypervisor, and for two files of xenfs.
 * Domain 0 alone is known; its ring is a page that nobody writes to. Clients come by the unix socket. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static int handle;         /* What the libraries' open functions give out: any address will do. */
static int events = -1;    /* Never readable: no event channel ever fires. */

/* libxenctrl: who is there. The result begins with the domain's number in both versions of the call. */
void *xc_interface_open(void *log, void *dombuild_log, unsigned flags) { return &handle; }
int xc_interface_close(void *xch) { return 0; }

int xc_domain_getinfo(void *xch, uint32_t first, unsigned max, void *info)
{
    memset(info, 0, 64);
    *(uint32_t *)info = first;
    return 1;
}

int xc_domain_getinfo_single(void *xch, uint32_t domid, void *info) /* since 4.18 */
{
    memset(info, 0, 64);
    *(uint16_t *)info = domid;
    return 0;
}

/* libxengnttab: a guest's ring page. */
void *xengnttab_open(void *log, unsigned flags) { return &handle; }
int xengnttab_close(void *xgt) { return 0; }
int xengnttab_set_max_grants(void *xgt, uint32_t count) { return 0; }
int xengnttab_unmap(void *xgt, void *start, uint32_t count) { return munmap(start, (size_t)count * PAGE); }

void *xengnttab_map_grant_ref(void *xgt, uint32_t domid, uint32_t ref, int prot)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

/* libxenevtchn. */
void *xenevtchn_open(void *log, unsigned flags) { events = eventfd(0, EFD_CLOEXEC); return &handle; }
void *xenevtchn_fdopen(void *log, int fd, unsigned flags) { events = fd; return &handle; }
int xenevtchn_fd(void *xce) { return events; }
int xenevtchn_bind_virq(void *xce, unsigned virq) { return 1; }
int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t remote) { return 2; }
int xenevtchn_unbind(void *xce, uint32_t port) { return 0; }
int xenevtchn_notify(void *xce, uint32_t port) { return 0; }
int xenevtchn_unmask(void *xce, uint32_t port) { return 0; }
int xenevtchn_pending(void *xce) { errno = EAGAIN; return -1; }

/* What xenfs would show of dom0's own ring: the number of its event channel, and its page. */
static int xenfs_file(const char *path)
{
    int fd = memfd_create("xenfs", MFD_CLOEXEC);
    int done;

    if (fd < 0)
        return -1;
    done = strcmp(path, "/proc/xen/xsd_port") ? ftruncate(fd, PAGE) == 0 : pwrite(fd, "1", 1, 0) == 1;
    if (done)
        return fd;
    close(fd);
    return -1;
}

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    va_list rest;
    int mode;

    if (!strncmp(path, "/proc/xen/xsd_", 14))
        return xenfs_file(path);
    va_start(rest, flags);
    mode = va_arg(rest, int);
    va_end(rest);
    return real(path, flags, mode);
}
