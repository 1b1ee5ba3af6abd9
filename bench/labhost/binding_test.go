package labhost_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hangbench/bench/agent"
	"hangbench/guests/kernel"
	"hangbench/guests/lab"
	"hangbench/guests/lab/place"
)

// TestBinding runs the tests of the binding that need a guest, in dom0 and on every real
// Xen: those of package cgo/xenctrl whose names begin with TestGuest. They are part of
// dom0's image, because a program of their size would take hours over the serial port.
func TestBinding(t *testing.T) {
	long(t)
	t.Parallel()
	for _, xen := range lab.Xens() {
		t.Run(xen, func(t *testing.T) { testBinding(t, xen) })
	}
}

func testBinding(t *testing.T, xen string) {
	ctx, h := otherLab(t, 2*time.Minute, func(o *lab.Options) {
		o.Tests, o.Variant = true, lab.Variant{Xen: lab.VariantXen(xen)}
	})
	images, err := filepath.Glob(filepath.Join(h.Lab.Prefix, "boot", "vmlinuz-*-cloud-amd64"))
	if err != nil || len(images) != 1 {
		t.Fatalf("guest kernels %q, %v", images, err)
	}
	k, err := kernel.Open(images[0])
	if err != nil {
		t.Fatal(err)
	}
	schedule, ok := k.Symbols.Lookup("__schedule")
	if !ok {
		t.Fatalf("%s has no __schedule", images[0])
	}
	m := h.guest(t, ctx, guest(1))
	list, err := execute(t, m, place.Tests, "-test.list", "^TestGuest")
	names := strings.Fields(list.Stdout)
	if err != nil || list.Status != 0 || len(names) < 9 {
		t.Fatalf("the tests are %q: status %d, %s, %v", names, list.Status, list.Stderr, err)
	}
	out, err := execute(t, m, place.Tests, "-test.v", "-test.run", "^TestGuest", "-guest", agent.GuestName,
		"-va", fmt.Sprintf("%#x", schedule.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s%s", out.Stdout, out.Stderr)
	if out.Status != 0 {
		t.Errorf("status %d", out.Status)
	}
	for _, name := range names {
		if !strings.Contains(out.Stdout, "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}
