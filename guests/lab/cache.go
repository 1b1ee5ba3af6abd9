package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"hangbench/guests/lab/debian"
)

// Cache is a folder for packages, labs and the files of running labs. All of it
// can be made again, so the folder can be deleted while no lab runs.
type Cache string

// CacheEnv is the environment variable that names the cache's folder.
const CacheEnv = "HANGBENCH_CACHE"

// FindCache returns the cache, whose folder may still have to be made. The folder is dir,
// or, if dir is empty, the value of HANGBENCH_CACHE, or, if that is empty, the folder
// hangbench below the user's cache folder. A path with characters that the lab's tools
// cannot take is an error, and so is one where something else than a folder is.
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
	named := dir
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cache folder %q: the current folder is gone: %w", named, err)
	}
	if i := strings.IndexFunc(dir, untakable); i >= 0 {
		r, _ := utf8.DecodeRuneInString(dir[i:])
		return "", fmt.Errorf("cache folder %q: its path has the character %q, which apt, gcc or the emulator cannot take; "+
			"set %s to another one", dir, r, CacheEnv)
	}
	info, err := os.Stat(dir)
	target, lerr := os.Readlink(dir)
	switch {
	case err != nil && lerr == nil:
		err = fmt.Errorf("%s is a link to %s, where no folder is", dir, target)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil && !info.IsDir():
		err = fmt.Errorf("%s: %w", dir, unix.ENOTDIR)
	}
	if err != nil {
		return "", badCache(err)
	}
	return Cache(dir), nil
}

// badCache is the error of a cache whose folder cannot be used.
func badCache(err error) error {
	return fmt.Errorf("cache folder: %w; set %s to another one", err, CacheEnv)
}

// Make makes the cache's folder if it is not there.
func (c Cache) Make() error {
	if err := os.MkdirAll(string(c), 0o700); err != nil {
		return badCache(err)
	}
	return nil
}

// made reports whether the cache's folder is there.
func (c Cache) made() bool {
	_, err := os.Stat(string(c))
	return err == nil
}

// untakable says whether one of the programs that get paths of the cache cannot take a
// character in them. apt cannot quote blanks, quotes and brackets, the loader separates
// folders by colons and semicolons, gcc's specs give a meaning to percent, the emulator's
// configuration to commas, number signs and dollars.
func untakable(r rune) bool {
	switch {
	case r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r):
		return true
	case r > unicode.MaxASCII || unicode.IsLetter(r) || unicode.IsDigit(r):
		return false
	}
	return !strings.ContainsRune("/._-+@=~", r)
}

// lacks is the space in bytes that what the cache lacks will take: measured with Debian
// 13, and rounded up.
func (c Cache) lacks() (bytes int64) {
	for _, part := range []struct {
		pattern string
		bytes   int64
	}{
		{"packages/packages.json", 400 << 20}, // 243 MiB, and apt's indices until they are there
		{"prefix-*", 240 << 20},               // 233 MiB
		{"labs/*/" + ManifestFile, 320 << 20}, // the disc of 151 MiB, and what it is made of
	} {
		if have, err := filepath.Glob(c.path(part.pattern)); err != nil || len(have) == 0 {
			bytes += part.bytes
		}
	}
	return bytes
}

func (c Cache) path(elem ...string) string {
	return filepath.Join(append([]string{string(c)}, elem...)...)
}

// packages is the folder of the lab's own packages.
func (c Cache) packages() string { return c.path("packages") }

// packagesOf is the folder of the packages of a guest kernel.
func (c Cache) packagesOf(k guestKernel) string {
	if k.Ordinary {
		return c.path("packages-" + string(k.Release))
	}
	return c.path("packages-" + k.Name)
}

// packagesFor is the folder of the packages of a set of guest programs.
func (c Cache) packagesFor(programs string) string { return c.path("packages-" + programs) }

// labs is the folder of built labs, each in a folder named by its key.
func (c Cache) labs() string { return c.path("labs") }

// toolchain is the folder of the C compiler's scripts.
func (c Cache) toolchain() string { return c.path("toolchain") }

// runs is the folder of running labs. A run removes its own folder, unless it
// failed.
func (c Cache) runs() string { return c.path("runs") }

// prefix is the folder in which a set of packages is laid out.
func (c Cache) prefix(l *debian.Lock) string { return c.path("prefix-" + l.Digest()[:16]) }
