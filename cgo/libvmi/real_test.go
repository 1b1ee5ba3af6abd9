//go:build libvmi && cgo

package libvmi

import (
	"errors"
	"os"
	"testing"
)

// TestOpenWithoutXen: without Xen, Open of the real LibVMI returns an error, and
// frees all events.
func TestOpenWithoutXen(t *testing.T) {
	if _, err := os.Stat("/proc/xen/capabilities"); err == nil {
		t.Skip("this is a Xen control domain")
	}
	for _, c := range []Config{{}, {Events: true}, {Linux: &Linux{Tasks: 1}}} {
		for _, g := range []Target{ByID(1), ByName("guest")} {
			v, err := Open(g, c)
			var e *Error
			if !errors.As(err, &e) || e.Func != "vmi_init" || e.Reason == "" {
				t.Errorf("open %v with %+v: %v, %v", g, c, v, err)
			}
		}
	}
	if n := liveEvents(); n != 0 {
		t.Errorf("%d events are left", n)
	}
}
