package dom0

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hangbench/guests/lab/place"
)

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
