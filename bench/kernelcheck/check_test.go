package kernelcheck_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hangbench/bench/kernelcheck"
	"hangbench/cgo/require"
	"hangbench/guests/kernel"
)

// cannot are the faults that a kernel cannot have, by the beginning of its release, with
// the reason.
var cannot = map[string]map[string]string{
	"5.10.": {
		"spinlock-abba": "no symbol _raw_spin_unlock", "missing-unlock": "no symbol _raw_spin_unlock", // it is inlined
	},
	"7.3.": {"spinlock-abba": "user_get_super: it calls _raw_spin_unlock 0 times"}, // the lock is gone
}

// module are the things of a guest that distributions build as modules.
var module = []string{"Xen block device, built in", "Xen hypercalls of programs, built in"}

// lacks are the things that are read of a guest and that a kernel lacks, by its release.
// Before 6.12 FUSE is a module of Debian's kernels.
var lacks = map[string]string{
	"5.10.": "the programs that serve file systems (FUSE, built in)",
	"6.1.":  "the programs that serve file systems (FUSE, built in)",
}

// TestRealKernels: every class can be judged in the kernels of distributions, and every
// fault can be injected, but for those that are known.
func TestRealKernels(t *testing.T) {
	t.Parallel()
	for _, path := range require.KernelImages(t) {
		t.Run(strings.ReplaceAll(path, "/", " "), func(t *testing.T) {
			t.Parallel()
			k, err := kernel.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			testRealKernel(t, k)
		})
	}
}

func testRealKernel(t *testing.T, k *kernel.Kernel) {
	r := check(t, k)
	if !r.OK() || !r.Types || r.Symbols < 80000 {
		t.Errorf("%s: types %v, %d symbols; %+v", k.Release, r.Types, r.Symbols, r.Classes)
	}
	lacking := module
	for release, what := range lacks {
		if strings.HasPrefix(k.Release, release) {
			lacking = append(slices.Clip(module), what)
		}
	}
	for _, i := range slices.Concat(r.Boot, r.Reads, r.Mechanisms) {
		if i.OK == slices.Contains(lacking, i.What) || i.OK != (i.Effect == "") {
			t.Errorf("%s: %+v", k.Release, i)
		}
	}
	faults := map[string]string{}
	for release, f := range cannot {
		if strings.HasPrefix(k.Release, release) {
			faults = f
		}
	}
	for _, i := range r.Faults {
		why, known := faults[i.What]
		if i.OK == known || !strings.Contains(i.Effect, why) {
			t.Errorf("%s: fault %s: %v, %s; want %q", k.Release, i.What, i.OK, i.Effect, why)
		}
	}

	// The same kernel made without BTF: nothing can be judged, and every class says so.
	k.Types = &kernel.Types{}
	r = check(t, k)
	if r.OK() || r.Types {
		t.Errorf("%s without types: %+v", k.Release, r.Classes)
	}
	for _, c := range r.Classes {
		if c.Judged || !slices.ContainsFunc(c.Why, func(w string) bool { return strings.Contains(w, "rq.nr_switches") }) {
			t.Errorf("%s without types: %+v", k.Release, c)
		}
	}
	works := func(items []kernelcheck.Item, name string) bool {
		return slices.ContainsFunc(items, func(i kernelcheck.Item) bool { return i.What == name && i.OK })
	}
	if works(r.Faults, "spinlock-deadlock") || works(r.Faults, "mutex-deadlock") || !works(r.Faults, "hard-lockup") ||
		works(r.Mechanisms, "exec-step") {
		t.Errorf("%s without types: %+v", k.Release, r.Faults)
	}
}

func check(t *testing.T, k *kernel.Kernel) *kernelcheck.Report {
	t.Helper()
	r, err := kernelcheck.Check(t.Context(), k, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWithoutBTF checks a kernel that was made without BTF and has hardly a symbol.
func TestWithoutBTF(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("..", "..", "guests", "kernel", "testdata", "no-btf.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Read(image)
	if k == nil || err == nil {
		t.Fatal("the image has BTF")
	}
	r := check(t, k)
	if r.OK() || r.Types || !strings.HasPrefix(r.Banner, "Linux version "+r.Release) {
		t.Errorf("%+v", r)
	}
	// What does not touch the kernel's memory can be injected in any kernel.
	outside := regexp.MustCompile(`^(realtime-hog|fork-bomb|io-stall|memory-thrash|monitor-livelock)$`)
	for _, i := range r.Faults {
		if i.OK != outside.MatchString(i.What) || !i.OK && !strings.Contains(i.Effect, "the kernel has no symbol") {
			t.Errorf("fault %s: %v, %s", i.What, i.OK, i.Effect)
		}
	}
	if len(r.Declared) > 0 {
		t.Errorf("faults of no suite: %+v", r.Declared)
	}
	for _, i := range slices.Concat(r.Boot, r.Mechanisms) {
		if i.OK || i.Effect == "" {
			t.Errorf("%+v", i)
		}
	}
	if i := r.Reads[0]; !i.OK || i.What != "the kernel's banner" || len(i.Names) != 1 || !i.Names[0].Found {
		t.Errorf("the banner: %+v", i)
	}
}
