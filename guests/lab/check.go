package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
)

// Damage is something in a cache that is not as it was made, or that a process which was
// killed has left.
type Damage struct {
	Path string
	Why  error
	// lock is the path of the lock of whoever uses it; empty: it may be removed at any time.
	lock string
}

// Counts is the number of things of each kind that Check has read.
type Counts struct{ PackageSets, Prefixes, Labs, Snapshots int }

// Check reads all of the cache, compares it with its checksums and returns what is
// damaged. It changes nothing. It waits for a build, and passes over what another
// process is just making.
func (c Cache) Check(ctx context.Context) (all []Damage, n Counts, err error) {
	if !c.made() {
		return nil, n, nil
	}
	guard, err := waitLock(ctx, c.path(buildLock), true)
	if err != nil {
		return nil, n, fmt.Errorf("wait for a build: %w", err)
	}
	defer guard.Close()
	left := c.leftovers()
	compilers, err := c.dirs("toolchain/*/.*")
	if err != nil {
		return nil, n, err
	}
	for _, dir := range compilers {
		if bochs.Unfinished(dir) {
			left = append(left, dir)
		}
	}
	for _, path := range left {
		all = append(all, Damage{Path: path, Why: errLeft})
	}
	for _, kind := range []struct {
		pattern, lock string // of the lock: what follows the path
		check         checkFunc
		n             *int
	}{
		{"packages*", "/.lock", checkPackages, &n.PackageSets},
		{"prefix-*", ".lock", checkPrefix, &n.Prefixes},
		{"labs/*", "", nil, &n.Labs},
	} {
		dirs, err := c.dirs(kind.pattern)
		if err != nil {
			return nil, n, err
		}
		for _, dir := range dirs {
			var found []Damage
			if kind.check == nil {
				found, err = c.checkLab(ctx, dir, &n)
			} else {
				found, err = checkLocked(ctx, dir, unpacking(dir)+kind.lock, kind.check)
			}
			if err != nil {
				return nil, n, err
			}
			*kind.n++
			all = append(all, found...)
		}
	}
	return all, n, nil
}

// errLeft is the damage of a folder that should not be there any more.
var errLeft = errors.New("it was left by a process that was killed")

// dirs returns the folders in the cache that match a pattern.
func (c Cache) dirs(pattern string) ([]string, error) {
	found, err := filepath.Glob(c.path(pattern))
	if err != nil {
		return nil, fmt.Errorf("look through the cache: %w", err)
	}
	var dirs []string
	for _, path := range found {
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		}
	}
	return dirs, nil
}

// checkFunc checks a folder. It returns the path of what is damaged, and why.
type checkFunc func(ctx context.Context, dir string) (path string, why error)

// checkLocked calls check for a folder, unless another process is making it.
func checkLocked(ctx context.Context, dir, lock string, check checkFunc) ([]Damage, error) {
	f, err := lockFile(lock, true)
	if err == unix.EWOULDBLOCK {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	path, why := check(ctx, dir)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if why == nil {
		return nil, nil
	}
	return []Damage{{path, why, lock}}, nil
}

// checkPackages checks a set of packages. If some are missing, the set is not damaged:
// the next build fetches them.
func checkPackages(ctx context.Context, dir string) (string, error) {
	err := debian.CheckPackages(ctx, dir)
	wrong := (*debian.HashError)(nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.As(err, &wrong):
		return wrong.Path, err // the other packages are good
	}
	return debian.LockPath(dir), err
}

// unpacking returns the prefix of which a folder is a part that is being unpacked, or
// that was replaced; of any other folder the folder itself.
func unpacking(dir string) string { return strings.TrimSuffix(strings.TrimSuffix(dir, ".new"), ".old") }

// checkPrefix checks a prefix, or what is left of one.
func checkPrefix(ctx context.Context, dir string) (string, error) {
	if unpacking(dir) != dir {
		return dir, errLeft
	}
	return dir, debian.CheckPrefix(ctx, dir)
}

// checkLab checks the lab in a folder, and its snapshots.
func (c Cache) checkLab(ctx context.Context, dir string, n *Counts) (all []Damage, err error) {
	lock := filepath.Join(dir, lockName)
	m, err := readBuilt(dir)
	if err == nil && m.Key() != filepath.Base(dir) {
		err = fmt.Errorf("%s is of another lab: %s", filepath.Join(dir, ManifestFile), m.Key())
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errLeft // the manifest is written last
	}
	if err != nil {
		return []Damage{{dir, err, lock}}, nil
	}
	if err := m.checkDisc(dir); err != nil {
		// Without its manifest the disc is built anew. The snapshots stay.
		all = append(all, Damage{filepath.Join(dir, ManifestFile), err, ""})
	}
	snapshots := filepath.Join(dir, snapshotsDir)
	entries, err := os.ReadDir(snapshots)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for snapshots: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(snapshots, e.Name())
		if !e.IsDir() {
			continue
		}
		if strings.HasPrefix(e.Name(), ".") {
			if bochs.Unfinished(path) {
				all = append(all, Damage{Path: path, Why: errLeft})
			}
			continue
		}
		_, err := bochs.OpenSnapshot(ctx, path, m.Machine, m.Key())
		damaged := (*bochs.SnapshotError)(nil)
		switch {
		case err == nil:
			n.Snapshots++
		case errors.As(err, &damaged):
			n.Snapshots++
			all = append(all, Damage{Path: path, Why: damaged.Err})
		case !errors.Is(err, fs.ErrNotExist): // another process has removed it
			return nil, err
		}
	}
	return all, nil
}

// Mend removes what Check has found. It is made anew when it is needed. It is an error
// if that is in use.
func (c Cache) Mend(found []Damage) error {
	var errs []error
	for _, d := range found {
		errs = append(errs, d.remove())
	}
	return errors.Join(errs...)
}

// remove removes what is damaged.
func (d Damage) remove() error {
	if d.lock != "" {
		f, err := lockFile(d.lock, true)
		if err != nil {
			return fmt.Errorf("remove %s, which is damaged: it is in use: %w", d.Path, err)
		}
		defer f.Close()
	}
	if err := os.RemoveAll(d.Path); err != nil {
		return fmt.Errorf("remove what is damaged: %w", err)
	}
	return nil
}
