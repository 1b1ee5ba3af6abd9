package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"hangbench/guests/lab/debian"
)

// Cache is the folder in which everything that can be made again is kept.
type Cache string

// CacheEnv overrides the cache's place.
const CacheEnv = "HANGBENCH_CACHE"

// FindCache returns the cache to use: dir if it is not empty, else what
// HANGBENCH_CACHE says, else hangbench below the user's cache folder.
func FindCache(dir string, getenv func(string) string) (Cache, error) {
	if dir == "" {
		dir = getenv(CacheEnv)
	}
	if dir == "" {
		base := getenv("XDG_CACHE_HOME")
		if base == "" {
			home := getenv("HOME")
			if home == "" {
				return "", fmt.Errorf("there is no home folder to keep a cache in: set %s to a folder", CacheEnv)
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

// Folders of the cache.
func (c Cache) packages() string                   { return c.path("packages") }
func (c Cache) packagesOf(r debian.Release) string { return c.path("packages-" + string(r)) }
func (c Cache) packagesFor(programs string) string { return c.path("packages-" + programs) }
func (c Cache) labs() string                       { return c.path("labs") }
func (c Cache) toolchain() string                  { return c.path("toolchain") }

// runs is where running labs keep their files; emptied after each run but for
// evidence of a failure.
func (c Cache) runs() string { return c.path("runs") }
