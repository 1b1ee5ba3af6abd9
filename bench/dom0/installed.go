package dom0

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hangbench/guests/lab/place"
)

// Installed returns the names of the guest kernels in a folder of guests, and of
// the sets of programs for which it has an initramfs. A kernel is a folder with a
// profile.
func Installed(guests string) (kernels, programs []string, err error) {
	entries, err := os.ReadDir(guests)
	if err != nil {
		return nil, nil, fmt.Errorf("read the folder of guest kernels: %w", err)
	}
	for _, e := range entries {
		if set, ok := strings.CutPrefix(e.Name(), place.Ramdisk("")+"-"); ok {
			programs = append(programs, set)
			continue
		}
		if _, err := os.Stat(filepath.Join(guests, e.Name(), place.Profile)); err == nil {
			kernels = append(kernels, e.Name())
		}
	}
	return kernels, programs, nil
}
