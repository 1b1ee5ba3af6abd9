package labhost

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

// TestVariant: guests with superpages run in a lab of their own, which is built
// once, when the first of them is asked for.
func TestVariant(t *testing.T) {
	small := suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: 1, MemoryMiB: 160}
	large := small
	large.Superpages = true
	work := small
	work.Programs = "stress-ng"
	if guestName(small) == guestName(large) {
		t.Error("a snapshot of one kind of guest passes for the other")
	}
	h := &Host{Lab: &lab.Lab{Dir: "small"}, Shim: "shim"}
	if got, err := h.Of(t.Context(), small); err != nil || got != h {
		t.Errorf("a guest without superpages runs on %v (%v), want the host itself", got, err)
	}
	small.XenRelease = lab.Xens()[0]
	if got, err := h.Of(t.Context(), small); err != nil || got != h {
		t.Errorf("a guest on the ordinary Xen runs on %v (%v), want the host itself", got, err)
	}
	if _, err := h.Of(t.Context(), large); err == nil || !strings.Contains(err.Error(), "no guests with superpages") {
		t.Errorf("without a lab for it: %v", err)
	}
	built := 0
	failure := errors.New("disk full")
	h.Variant = func(_ context.Context, v lab.Variant) (*lab.Lab, error) {
		if !v.Superpages || v.Programs != "" {
			t.Errorf("lab %+v is built for a guest with superpages", v)
		}
		if built++; built == 1 {
			return nil, failure
		}
		return &lab.Lab{Dir: "large"}, nil
	}
	if _, err := h.Of(t.Context(), large); !errors.Is(err, failure) {
		t.Errorf("a lab that cannot be built: %v", err)
	}
	first, err := h.Of(t.Context(), large)
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Of(t.Context(), large)
	if err != nil || again != first || built != 2 {
		t.Errorf("the lab was built %d times, want 2 (%v)", built, err)
	}
	if want := filepath.Join("large", "snapshots", "x"); first.snapshotDir("x") != want || first.Shim != h.Shim {
		t.Errorf("snapshots go to %s, want %s", first.snapshotDir("x"), want)
	}
	// Another set of programs is another lab, and each is closed by itself.
	if guestName(work) == guestName(small) {
		t.Error("a snapshot of a guest with programs passes for one without")
	}
	var got []lab.Variant
	h.Variant = func(_ context.Context, v lab.Variant) (*lab.Lab, error) {
		got = append(got, v)
		return &lab.Lab{Dir: "work"}, nil
	}
	newer := small
	newer.Kernel = "cloud-7.3"
	older := small
	older.XenRelease = "4.17"
	hvm := small
	hvm.Type = suites.HVM
	if guestName(hvm) == guestName(small) {
		t.Error("a snapshot of a guest of type HVM passes for one of type PVH")
	}
	for range 2 {
		for _, g := range []suites.Guest{work, newer, older, hvm} {
			other, err := h.Of(t.Context(), g)
			if err != nil || other == first || other.Lab.Dir != "work" {
				t.Errorf("guest %+v runs on %v (%v)", g, other, err)
			}
		}
	}
	want := []lab.Variant{{Programs: "stress-ng"}, {Kernel: "cloud-7.3"}, {Xen: "4.17"}, {HVM: true}}
	if !slices.Equal(got, want) {
		t.Errorf("labs %+v were built, want %+v", got, want)
	}
	if _, err := os.Stat("large"); err == nil {
		t.Error("choosing a host made files")
	}
}

// TestManifests: a run can say what every lab is made of that it needs.
func TestManifests(t *testing.T) {
	h := &Host{Lab: &lab.Lab{Manifest: lab.Manifest{Dom0: "ordinary"}}}
	h.Variant = func(_ context.Context, v lab.Variant) (*lab.Lab, error) {
		return &lab.Lab{Manifest: lab.Manifest{Dom0: "for " + v.String()}}, nil
	}
	k := lab.GuestKernels()[1] // of the ordinary lab too
	got, err := h.Manifests(t.Context(), []suites.Guest{{Kernel: k}, {Kernel: k, VCPUs: 2}, {Kernel: k, Programs: "p"},
		{Kernel: k, Programs: "p", VCPUs: 2}, {Kernel: k, Superpages: true, Programs: "p"}, {Kernel: "cloud-7.3"}})
	if err != nil || len(got) != 4 || got["cloud-7.3"].Dom0 != "for cloud-7.3" ||
		got[""].Dom0 != "ordinary" || got["p"].Dom0 != "for p" ||
		got["superpages-p"].Dom0 != "for superpages-p" {
		t.Errorf("%+v, %v", got, err)
	}
}
