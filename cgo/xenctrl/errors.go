package xenctrl

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Errors for [errors.Is].
var (
	ErrNotBuilt = errors.New("this program was built without Xen support: make build-xen builds one with it")
	ErrNoXen    = errors.New("no Xen here: this machine is not a Xen control domain, " +
		"or its privcmd, evtchn or xenstore device is missing")
	ErrUnsupported = errors.New("not supported by this Xen, this guest or this CPU")
	ErrBusy        = errors.New("busy")
	ErrNoDomain    = errors.New("no such domain, vCPU or page")
	ErrPerm        = errors.New("not permitted")
	ErrNotExist    = errors.New("does not exist")
	ErrClosed      = errors.New("already closed")
	ErrCorrupt     = errors.New("shared buffer is corrupt")
)

// None stands in an [Error] for a domain, vCPU or view if the call has none.
const None = -1

// NoGFN stands in an [Error] for a page frame if the call has none.
const NoGFN = ^uint64(0)

// Error is a failed call of a Xen library. All errors of such calls are of this type.
type Error struct {
	Op     string        // library function, for example "xc_monitor_enable"
	Domain int           // domain id, or None
	VCPU   int           // or None
	View   int           // altp2m view, or None
	GFN    uint64        // guest page frame, or NoGFN
	Path   string        // xenstore path, or empty
	Errno  syscall.Errno // errno after the call
	Detail string        // last message in the library's log, or empty
}

func newError(op string, errno syscall.Errno) *Error {
	return &Error{Op: op, Domain: None, VCPU: None, View: None, GFN: NoGFN, Errno: errno}
}

// Error returns the call, its arguments and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Domain != None {
		fmt.Fprintf(&b, " domain %d", e.Domain)
	}
	if e.VCPU != None {
		fmt.Fprintf(&b, " vcpu %d", e.VCPU)
	}
	if e.View != None {
		fmt.Fprintf(&b, " view %d", e.View)
	}
	if e.GFN != NoGFN {
		fmt.Fprintf(&b, " gfn %#x", e.GFN)
	}
	if e.Path != "" {
		fmt.Fprintf(&b, " %q", e.Path)
	}
	fmt.Fprintf(&b, ": %s", e.Errno.Error())
	if e.Detail != "" {
		fmt.Fprintf(&b, " (%s)", e.Detail)
	}
	if hint := e.hint(); hint != "" {
		fmt.Fprintf(&b, "; %s", hint)
	}
	return b.String()
}

// hint returns advice for errors whose errno alone misleads, or "".
func (e *Error) hint() string {
	switch {
	case e.opens() && e.Is(ErrNoXen):
		return ErrNoXen.Error()
	case e.Op == "xc_monitor_enable" && e.Errno == syscall.EBUSY:
		return "another monitor has the guest's event ring, or had it when it died: stop it, then recover the guest"
	}
	return ""
}

// opens reports whether the call opens a device of Xen.
func (e *Error) opens() bool {
	return strings.HasSuffix(e.Op, "_open")
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Is reports whether e is one of the package's Err values.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNoXen:
		// ENXIO and ENODEV: the device exists, and its driver found no Xen.
		return e.opens() && (e.Errno == syscall.ENOENT || e.Errno == syscall.ENXIO ||
			e.Errno == syscall.ENODEV || e.Errno == syscall.ECONNREFUSED)
	case ErrUnsupported:
		return e.Errno == syscall.EOPNOTSUPP || e.Errno == syscall.ENOSYS
	case ErrBusy:
		return e.Errno == syscall.EBUSY
	case ErrNoDomain:
		return e.Errno == syscall.ESRCH
	case ErrPerm:
		return e.Errno == syscall.EPERM || e.Errno == syscall.EACCES
	case ErrNotExist:
		return e.Errno == syscall.ENOENT
	}
	return false
}
