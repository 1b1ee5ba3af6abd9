//go:build xen && cgo

/* What differs between the Xens whose headers this package builds with, 4.17 to 4.22.
 * The vm_event interface is the same in all of them: layout.c asserts its version. */
#ifndef HANGBENCH_XENCTRL_COMPAT_H
#define HANGBENCH_XENCTRL_COMPAT_H

#include <errno.h>
#include <stdbool.h>

#include <xenctrl.h>
#include <xen/memory.h>
#include <xen/trace.h>

/* Xen 4.18 renamed these records. */
#ifndef TRC_HVM_VMX_EXIT
#define TRC_HVM_VMX_EXIT TRC_HVM_VMEXIT
#define TRC_HVM_VMX_EXIT64 TRC_HVM_VMEXIT64
#endif

/* Xen 4.18 has xc_domain_getinfo_single in place of xc_domain_getinfo. Every Xen has
 * xc_domain_getinfolist, which finds the first domain from dom on, and costs more. */
#if XEN_DOMCTL_INTERFACE_VERSION < 0x16
static inline int xc_domain_getinfo_single(xc_interface *xc, uint32_t dom, xc_domaininfo_t *info)
{
    int n = xc_domain_getinfolist(xc, dom, 1, info);

    if (n < 0)
        return -1;
    if (n == 1 && info->domain == dom)
        return 0;
    errno = ESRCH;
    return -1;
}
#endif

/* Xen 4.20 has one more kind of access, r_pw, whose number was the default's before. The
 * numbers below it are the same in every Xen. Access of types.go has Xen 4.20's numbers. */
#define HB_ACCESS_RPW 10
#define HB_ACCESS_DEFAULT 11
_Static_assert(XENMEM_access_n2rwx == HB_ACCESS_RPW - 1 && XENMEM_access_default >= HB_ACCESS_RPW &&
                   XENMEM_access_default <= HB_ACCESS_DEFAULT,
               "this Xen has kinds of access that types.go does not have");

/* Converts an Access to Xen's number. It returns false if this Xen does not have it. */
static inline bool hb_access_to_xen(int access, xenmem_access_t *to)
{
    *to = access == HB_ACCESS_DEFAULT ? XENMEM_access_default : (xenmem_access_t)access;
    return access == HB_ACCESS_DEFAULT || (access >= 0 && access < XENMEM_access_default);
}

static inline int hb_access_from_xen(xenmem_access_t access)
{
    return access == XENMEM_access_default ? HB_ACCESS_DEFAULT : (int)access;
}

#endif
