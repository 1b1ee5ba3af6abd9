package require

import (
	"os"
	"path/filepath"
	"testing"
)

// FindKernels returns the paths of kernel images of distributions: those in the variable
// HANGBENCH_TEST_KERNELS, or those of the packages that labs have left in the cache.
func FindKernels() []string {
	if list := os.Getenv("HANGBENCH_TEST_KERNELS"); list != "" {
		return filepath.SplitList(list)
	}
	cache := os.Getenv("HANGBENCH_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil
		}
		cache = filepath.Join(dir, "hangbench")
	}
	var all []string
	for _, image := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		paths, err := filepath.Glob(filepath.Join(cache, "prefix-*", image))
		if err != nil {
			return nil // the cache's path has a meta character
		}
		all = append(all, paths...)
	}
	return all
}

// KernelImages is FindKernels for a test, which is skipped if there are none.
func KernelImages(t testing.TB) []string {
	t.Helper()
	all := FindKernels()
	if len(all) == 0 {
		Missing(t, Kernels, "no distribution kernel to test with: list paths in HANGBENCH_TEST_KERNELS, "+
			"or build a lab, whose packages have some")
	}
	return all
}
