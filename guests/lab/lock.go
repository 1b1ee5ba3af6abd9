package lab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/lab/debian"
)

// lockFile opens the file path, which it creates if needed, and locks it with
// flock(2). The kernel releases the lock when the file is closed or the process
// ends, also after a kill. If another process holds the lock, lockFile returns
// unix.EWOULDBLOCK.
func lockFile(path string, exclusive bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// waitLock locks the file path as lockFile does, and waits for other processes until
// ctx ends.
func waitLock(ctx context.Context, path string, exclusive bool) (*os.File, error) {
	for {
		f, err := lockFile(path, exclusive)
		if err != unix.EWOULDBLOCK {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lockName is the name of the lock file in a folder of the cache. Whoever uses the
// folder holds the lock.
const lockName = "lock"

// workName is the beginning of the name of a build's folder. Whoever builds holds the
// lock buildLock of the cache.
const (
	workName  = "build-"
	buildLock = "build.lock"
)

// keptXens is how many Xens that a user brought have labs in the cache, beside the one for
// which a lab was just built. Every build of a developer's Xen makes a new one.
const keptXens = 2

// prune removes unused labs, except keep and the other variants of the same
// source (see sameSource). A lab takes over 0.5 GiB, and every change of the
// source makes a new one. Of the labs of other Xens that a user brought, those of the
// keptXens that were built last stay.
func (c Cache) prune(keep *Manifest) {
	type given struct {
		*built
		dir  string
		made time.Time
	}
	var others []given
	dirs, _ := filepath.Glob(filepath.Join(c.labs(), "*"))
	for _, d := range dirs {
		if filepath.Base(d) == keep.Key() {
			continue
		}
		m, err := readBuilt(d)
		if err != nil || !m.sameSource(keep) {
			removeUnused(d)
			continue
		}
		st, err := os.Stat(filepath.Join(d, ManifestFile)) // the manifest is written last
		if err == nil && m.GivenXen != nil && (keep.GivenXen == nil || *m.GivenXen != *keep.GivenXen) {
			others = append(others, given{m, d, st.ModTime()})
		}
	}
	slices.SortFunc(others, func(x, y given) int { return y.made.Compare(x.made) })
	kept := map[XenID]bool{}
	for _, o := range others {
		switch xen := *o.GivenXen; {
		case kept[xen] || len(kept) < keptXens:
			kept[xen] = true
		case removeUnused(o.dir) && xen.Form == XenDebs:
			os.RemoveAll(c.prefix(&debian.Lock{Packages: o.XenPackages}))
		}
	}
}

// leftovers returns the folders and files of builds that were killed: their own folders,
// and what they meant to rename when it was whole. The caller holds buildLock.
func (c Cache) leftovers() []string {
	var all []string
	for _, pattern := range []string{workName + "*", "labs/*/.*", "toolchain/*/.script-*", "toolchain/*/tools/.script-*"} {
		left, _ := filepath.Glob(c.path(pattern))
		all = append(all, left...)
	}
	return all
}

// removeLeftovers removes them. What cannot be removed takes space, and does no harm.
func (c Cache) removeLeftovers() {
	for _, path := range c.leftovers() {
		os.RemoveAll(path)
	}
}

// sameSource reports whether a lab was built from the same source as m. Its programs tell:
// they are equal, unless just one of the two labs has LibVMI, or they have different tools
// of Xen. Such a lab always counts as of the same source.
func (b *built) sameSource(m *Manifest) bool {
	if len(m.Programs) == 0 {
		return false
	}
	return (b.LibVMI == "") != (m.LibVMI == "") || b.tools() != m.tools() || maps.Equal(b.Programs, m.Programs)
}

// tools says which tools and libraries of Xen the lab has.
func (m *Manifest) tools() string {
	if m.GivenXen != nil && m.GivenXen.Form == XenDebs {
		return m.GivenXen.SHA256
	}
	return m.Xen
}

// removeUnused removes a folder unless its lock is held, and reports whether it
// did.
func removeUnused(dir string) bool {
	f, err := lockFile(filepath.Join(dir, lockName), true)
	if err != nil {
		return false
	}
	defer f.Close()
	return os.RemoveAll(dir) == nil
}

// evidence is the number of folders of failed runs that are kept.
const evidence = 5

// RunDir makes a folder for the files of one running machine. The folder is locked
// until release is called. RunDir removes the folders that earlier failed runs
// left, except the newest five.
func (c Cache) RunDir(name string) (dir string, release func(), err error) {
	if err := os.MkdirAll(c.runs(), 0o700); err != nil {
		return "", nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	old, _ := filepath.Glob(filepath.Join(c.runs(), "*"))
	sort.Strings(old) // their names begin with the time
	kept := 0
	for i := len(old) - 1; i >= 0; i-- {
		if kept++; kept > evidence && !removeUnused(old[i]) {
			kept-- // it is in use
		}
	}
	dir, err = os.MkdirTemp(c.runs(), name+"-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	f, err := lockFile(filepath.Join(dir, lockName), true)
	if err != nil {
		return "", nil, fmt.Errorf("lock the run's folder: %w", err)
	}
	return dir, func() { f.Close() }, nil
}
