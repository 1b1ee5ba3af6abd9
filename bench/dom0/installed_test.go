package dom0

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hangbench/guests/lab/place"
)

// TestReleases: the release of Xen is what Linux says of its hypervisor.
func TestReleases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := releases(dir); got != nil {
		t.Errorf("a machine without Xen has %q", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "version"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"major": "4\n", "minor": "17\n"} {
		if err := os.WriteFile(filepath.Join(dir, "version", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := releases(dir); !slices.Equal(got, []string{"4.17"}) {
		t.Errorf("Xen 4.17 is %q", got)
	}
}

func TestInstalled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"cloud-6.1/" + place.Profile, "cloud-6.12/" + place.Profile, "half/" + place.Kernel,
		place.Ramdisk(""), place.Ramdisk("stress-ng")} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kernels, programs, err := Installed(dir)
	if err != nil || !slices.Equal(kernels, []string{"cloud-6.1", "cloud-6.12"}) ||
		!slices.Equal(programs, []string{"stress-ng"}) {
		t.Errorf("kernels %v, programs %v, %v", kernels, programs, err)
	}
	if _, _, err := Installed(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
