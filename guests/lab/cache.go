package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"hangbench/guests/lab/debian"
)

// Cache is a folder for packages, labs and the files of running labs. All of it
// can be made again, so the folder can be deleted while no lab runs.
type Cache string

// CacheEnv is the environment variable that names the cache's folder.
const CacheEnv = "HANGBENCH_CACHE"

// FindCache returns the cache and makes its folder. The folder is dir, or, if dir
// is empty, the value of HANGBENCH_CACHE, or, if that is empty, the folder
// hangbench below the user's cache folder.
func FindCache(dir string, getenv func(string) string) (Cache, error) {
	if dir == "" {
		dir = getenv(CacheEnv)
	}
	if dir == "" {
		base := getenv("XDG_CACHE_HOME")
		if base == "" {
			home := getenv("HOME")
			if home == "" {
				return "", fmt.Errorf("there is no home folder for a cache: set %s to a folder", CacheEnv)
			}
			base = filepath.Join(home, ".cache")
		}
		dir = filepath.Join(base, "hangbench")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cache folder: %w; set %s to another one", err, CacheEnv)
	}
	return Cache(dir), nil
}

func (c Cache) path(elem ...string) string {
	return filepath.Join(append([]string{string(c)}, elem...)...)
}

// packages is the folder of the lab's own packages.
func (c Cache) packages() string { return c.path("packages") }

// packagesOf is the folder of the packages of another release.
func (c Cache) packagesOf(r debian.Release) string { return c.path("packages-" + string(r)) }

// packagesFor is the folder of the packages of a set of guest programs.
func (c Cache) packagesFor(programs string) string { return c.path("packages-" + programs) }

// labs is the folder of built labs, each in a folder named by its key.
func (c Cache) labs() string { return c.path("labs") }

// toolchain is the folder of the C compiler's scripts.
func (c Cache) toolchain() string { return c.path("toolchain") }

// runs is the folder of running labs. A run removes its own folder, unless it
// failed.
func (c Cache) runs() string { return c.path("runs") }
