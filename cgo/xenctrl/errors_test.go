package xenctrl

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestErrorIs(t *testing.T) {
	sentinels := map[string]error{"NotBuilt": ErrNotBuilt, "NoXen": ErrNoXen, "Unsupported": ErrUnsupported,
		"Busy":     ErrBusy,
		"NoDomain": ErrNoDomain, "Perm": ErrPerm, "NotExist": ErrNotExist, "Closed": ErrClosed, "Corrupt": ErrCorrupt}
	for _, c := range []struct {
		op    string
		errno syscall.Errno
		want  string // sentinels that match
	}{
		{"xc_interface_open", syscall.ENOENT, "NoXen NotExist"},
		{"xc_interface_open", syscall.ENXIO, "NoXen"},
		{"xc_interface_open", syscall.ENODEV, "NoXen"},
		{"xc_interface_open", syscall.EACCES, "Perm"},
		{"xs_open", syscall.ECONNREFUSED, "NoXen"},
		{"xs_read", syscall.ENOENT, "NotExist"},
		{"xc_domain_pause", syscall.ESRCH, "NoDomain"},
		{"xc_domain_pause", syscall.EPERM, "Perm"},
		{"xc_monitor_singlestep", syscall.EOPNOTSUPP, "Unsupported"},
		{"xc_monitor_singlestep", syscall.ENOSYS, "Unsupported"},
		{"xc_monitor_enable", syscall.EBUSY, "Busy"},
		{"xc_altp2m_switch_to_view", syscall.EINVAL, ""},
	} {
		err := fmt.Errorf("outer: %w", newError(c.op, c.errno))
		for name, s := range sentinels {
			want := strings.Contains(" "+c.want+" ", " "+name+" ")
			if got := errors.Is(err, s); got != want {
				t.Errorf("%s with %v: is Err%s %v, want %v", c.op, c.errno, name, got, want)
			}
		}
		if !errors.Is(err, c.errno) {
			t.Errorf("%s does not unwrap to %v", c.op, c.errno)
		}
		var e *Error
		if !errors.As(err, &e) || e.Op != c.op {
			t.Errorf("%s is not an *Error", c.op)
		}
	}
}

func TestErrorText(t *testing.T) {
	e := newError("xc_altp2m_set_mem_access", syscall.EINVAL)
	if got, want := e.Error(), "xc_altp2m_set_mem_access: invalid argument"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Domain, e.VCPU, e.View, e.GFN, e.Detail = 3, 0, 2, 0x1000, "no such view"
	const want = "xc_altp2m_set_mem_access domain 3 vcpu 0 view 2 gfn 0x1000: invalid argument (no such view)"
	if got := e.Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, c := range []struct {
		op   string
		e    syscall.Errno
		hint string
	}{
		{"xc_interface_open", syscall.ENOENT, "not a Xen control domain"},
		{"xc_monitor_enable", syscall.EBUSY, "recover the guest"},
	} {
		if got := newError(c.op, c.e).Error(); !strings.Contains(got, c.hint) {
			t.Errorf("%q does not say %q", got, c.hint)
		}
	}
}
