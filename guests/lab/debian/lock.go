package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// lockSchema is the version of packages.json. The packages of a lock of another
// schema are resolved again.
const lockSchema = 1

// Package is one Debian binary package of a lock.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	// Suite is the release's name, with or without "-security".
	Suite string `json:"suite"`
	// Path is the file's path below the suite's archive on the mirror, such as
	// "pool/main/b/bochs/bochs_3.0+dfsg-1_amd64.deb".
	Path string `json:"path"`
	// File is the file's name in the cache. apt chooses it: the colon of an epoch
	// becomes %3a.
	File string `json:"file"`
	// SHA256 is the file's hash in hexadecimal, from the signed index.
	SHA256 string `json:"sha256"`
	// SizeBytes is the length of the file.
	SizeBytes int64 `json:"size_bytes"`
	// InstalledKiB is the unpacked size in KiB, as the index estimates it.
	InstalledKiB int64 `json:"installed_kib"`
}

// Lock is a resolved set of packages. It is written to packages.json beside the
// packages. The record of an experiment should contain it.
type Lock struct {
	Schema int `json:"schema"`
	// Wanted and Excluded are the names from which the set was resolved.
	Wanted   []string  `json:"wanted"`
	Excluded []string  `json:"excluded"`
	Packages []Package `json:"packages"`
}

// SizeBytes returns the sum of the package files' lengths.
func (l *Lock) SizeBytes() int64 {
	var n int64
	for _, p := range l.Packages {
		n += p.SizeBytes
	}
	return n
}

// Digest returns a SHA-256 in hexadecimal over the name, version, architecture and
// file hash of each package. Locks with equal digests unpack to the same prefix.
func (l *Lock) Digest() string {
	h := sha256.New()
	for _, p := range l.Packages {
		fmt.Fprintf(h, "%s %s %s %s\n", p.Name, p.Version, p.Arch, p.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// answers reports whether the lock was resolved from s.
func (l *Lock) answers(s *Spec) bool {
	return l.Schema == lockSchema && slices.Equal(l.Wanted, s.Wanted) && slices.Equal(l.Excluded, s.excludedNames())
}

// LockPath returns the path of the lock of the package folder dir.
func LockPath(dir string) string { return filepath.Join(dir, "packages.json") }

// DebDir returns the folder of the package files of the package folder dir.
func DebDir(dir string) string { return filepath.Join(dir, "debs") }

// ReadLock reads a lock that Fetch has written.
func ReadLock(path string) (*Lock, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read package lock: %w", err)
	}
	l, err := parseLock(data)
	if err != nil {
		return nil, fmt.Errorf("read package lock %s: %w; delete the file to resolve the packages again", path, err)
	}
	return l, nil
}

var (
	sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)
	debFile   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+%~_-]*\.deb$`)
)

// parseLock decodes a lock. It refuses file names that lead out of the package folder,
// and hashes and sizes with which a file could not be checked.
func parseLock(data []byte) (*Lock, error) {
	var l Lock
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	for i, p := range l.Packages {
		switch {
		case p.Name == "" || p.Version == "":
			return nil, fmt.Errorf("package %d has no name or version", i)
		case !debFile.MatchString(p.File):
			return nil, fmt.Errorf("package %s has the file name %q", p.Name, p.File)
		case !sha256Hex.MatchString(p.SHA256):
			return nil, fmt.Errorf("package %s has the SHA-256 %q", p.Name, p.SHA256)
		case p.SizeBytes <= 0:
			return nil, fmt.Errorf("package %s has the size %d", p.Name, p.SizeBytes)
		}
	}
	return &l, nil
}

func (l *Lock) write(path string) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write package lock: %w", err)
	}
	if err := writeFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("write package lock: %w", err)
	}
	return nil
}

// writeFile writes a file under another name and renames it, so that readers never
// see half of it.
func writeFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return noSpace(err, filepath.Dir(path))
	}
	return os.Rename(tmp, path)
}

// verify compares the package's file in debs with the lock. The error wraps
// fs.ErrNotExist for a missing file. A wrong file is deleted; the error is then a
// *HashError.
func (p *Package) verify(debs string) error {
	err := p.compare(debs)
	if wrong := (*HashError)(nil); errors.As(err, &wrong) {
		if err := os.Remove(wrong.Path); err != nil {
			return fmt.Errorf("delete the damaged package file: %w", err)
		}
		wrong.Deleted = true
	}
	return err
}

// compare is verify, but leaves a wrong file where it is.
func (p *Package) compare(debs string) error {
	path := filepath.Join(debs, p.File)
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("check package %s: %w", p.Name, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fmt.Errorf("check package %s: %w", p.Name, err)
	}
	got := hex.EncodeToString(h.Sum(nil))
	if n == p.SizeBytes && got == p.SHA256 {
		return nil
	}
	if n != p.SizeBytes {
		got = fmt.Sprintf("%d bytes instead of %d", n, p.SizeBytes)
	}
	return &HashError{Path: path, Want: p.SHA256, Got: got}
}

// CheckPackages compares the package files in a package folder with its lock, and
// changes nothing. The error names the first file that is missing or wrong.
func CheckPackages(ctx context.Context, dir string) error {
	lock, err := ReadLock(LockPath(dir))
	if err != nil {
		return err
	}
	for _, p := range lock.Packages {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("check the packages in %s: %w", dir, err)
		}
		if err := p.compare(DebDir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// flock takes an exclusive lock on path. If another process holds it, flock waits.
// Closing the file releases the lock. The kernel releases it when this process and
// all children that inherited the file have ended, also after a kill.
func flock(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, noSpace(fmt.Errorf("lock: %w", err), filepath.Dir(path))
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another process that holds %s: %w", path, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
