package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/debian"
)

// TestVariantGuests: the guest of each variant runs in the lab of that variant and no other.
func TestVariantGuests(t *testing.T) {
	t.Parallel()
	for _, v := range lab.Variants() {
		var asked lab.Variant
		own := &labhost.Host{Lab: &lab.Lab{}, Variant: func(_ context.Context, v lab.Variant) (*lab.Lab, error) {
			asked = v
			return nil, errors.New("not built")
		}}
		h, err := own.Of(t.Context(), guestOf(v))
		if asked != v {
			t.Errorf("the guest of lab %q needs lab %q", v, asked)
		}
		if ordinaryLab := v == (lab.Variant{}); ordinaryLab != (err == nil) || ordinaryLab && h != own {
			t.Errorf("lab %q: %v, %v", v, h, err)
		}
	}
}

// TestMore: a package that both labs need is counted for neither, one that two sets of a
// lab have is counted once, and a folder that both labs have is left out.
func TestMore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := func(name string, mib int) string {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "file"), bytes.Repeat([]byte{1}, mib<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		return d
	}
	shared, extra := folder("shared", 5), folder("extra", 3)
	pkg := func(sum string, mib int64) debian.Package { return debian.Package{SHA256: sum, SizeBytes: mib << 20} }
	own := &lab.Lab{Prefixes: []string{shared}, Manifest: lab.Manifest{Packages: []debian.Package{pkg("a", 10)}}}
	other := &lab.Lab{Prefixes: []string{shared, extra}, Manifest: lab.Manifest{
		Packages: []debian.Package{pkg("a", 10)}, Kernels: []debian.Package{pkg("b", 20)},
		GuestPackages: []debian.Package{pkg("c", 40)}, XenPackages: []debian.Package{pkg("b", 20), pkg("d", 80)},
		HVMPackages: []debian.Package{pkg("d", 80), pkg("e", 160)},
	}}
	fetched, unpacked := more(own, other)
	if fetched != 300<<20 || unpacked != 3 {
		t.Errorf("fetched %d MiB and unpacked %d MiB, want 300 and 3", fetched>>20, unpacked)
	}
	if fetched, unpacked := more(own, own); fetched != 0 || unpacked != 0 {
		t.Errorf("beside itself the lab needs %d bytes and %d MiB", fetched, unpacked)
	}
}
