package dom0

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/bench/dom0/recovery"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/guests/lab/place"
	"hangbench/scenarios/suites"
)

func TestSuperpages(t *testing.T) {
	for line, want := range map[string]bool{
		"":                                true,
		"altp2m=1 hap_1gb=0":              true,
		"altp2m=1 hap_1gb=0 hap_2mb=0":    false,
		"hap_2mb=off noreboot":            false,
		"no-hap_2mb":                      false,
		"hap_2mb=0 altp2m hap_2mb=1":      true,
		"hap_2mb":                         true,
		"placeholder nohap_2mb hap_2mb=1": true,
	} {
		if got := Superpages(line); got != want {
			t.Errorf("%q: superpages %v, want %v", line, got, want)
		}
	}
}

// TestCheckGuestXen: a guest that asks for another Xen than the host's is refused.
func TestCheckGuestXen(t *testing.T) {
	t.Parallel()
	xen := xentest.NewHost(xentest.Config{})
	defer xen.Close()
	h := &Host{Host: recovery.Host{Xen: xen.Xen()}}
	for xen, says := range map[string]string{"": "", "4.20": "", "4.2": "has Xen 4.20", "4.17": `"4.20"`} {
		err := h.CheckGuest(suites.Guest{XenRelease: xen})
		if (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("Xen %q: %v, want %q", xen, err, says)
		}
	}
}

// TestCheckGuestType: a guest of type HVM needs the disc of its kernel, with the programs
// that it is to have.
func TestCheckGuestType(t *testing.T) {
	t.Parallel()
	h := &Host{Config: Config{Guests: t.TempDir()}}
	for _, programs := range []string{"", "stress-ng"} {
		g := suites.Guest{Kernel: "k", Type: suites.HVM, Programs: programs}
		if err := h.CheckGuest(g); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "lab build --hvm") {
			t.Errorf("without the disc: %v", err)
		}
		if err := os.MkdirAll(filepath.Join(h.Guests, "k"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.Guests, "k", place.Disc(programs)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.CheckGuest(g); err != nil {
			t.Error(err)
		}
	}
}

// TestCheckGuestPrograms: a guest with programs needs an initramfs that has them.
func TestCheckGuestPrograms(t *testing.T) {
	h := &Host{Config: Config{Guests: t.TempDir()}}
	g := suites.Guest{Programs: "stress-ng"}
	if err := h.CheckGuest(g); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "lab build --programs stress-ng") {
		t.Errorf("without the initramfs: %v", err)
	}
	if err := os.WriteFile(filepath.Join(h.Guests, place.Ramdisk(g.Programs)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.CheckGuest(g); err != nil {
		t.Error(err)
	}
}
