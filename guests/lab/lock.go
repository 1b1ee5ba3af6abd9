package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"
)

// Files in the cache are guarded by flock(2): the kernel drops such a lock when
// its holder ends, however it ends, so a kill leaves nothing to clean up by hand.

// lockFile opens path and locks it, exclusively or shared. With wait unset it
// returns unix.EWOULDBLOCK when somebody else holds it.
func lockFile(path string, exclusive, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
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

const lockName = "lock"

// prune removes labs that nobody uses, but for keep and those that were built of
// the same source, such as the one with superpages, and one kind of those with
// and without LibVMI, which have other programs: each is over half a GiB, and
// every change of the source makes another.
func (c Cache) prune(keep *Manifest) {
	dirs, _ := filepath.Glob(filepath.Join(c.labs(), "*"))
	for _, d := range dirs {
		if filepath.Base(d) != keep.Key() && !sameSource(d, keep) {
			removeUnused(d)
		}
	}
	// What a build or an unpacking left that was killed.
	left, _ := filepath.Glob(c.path("build-*"))
	for _, d := range left {
		os.RemoveAll(d)
	}
}

// sameSource reports whether the lab in dir is whole and has the same programs,
// or is of the other kind, with or without LibVMI.
func sameSource(dir string, m *Manifest) bool {
	b, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		return false
	}
	var other built
	if json.Unmarshal(b, &other) != nil || other.Schema != m.Schema || len(m.Programs) == 0 {
		return false
	}
	return (other.LibVMI == "") != (m.LibVMI == "") || maps.Equal(other.Programs, m.Programs)
}

// removeUnused removes a folder unless its lock is held.
func removeUnused(dir string) bool {
	f, err := lockFile(filepath.Join(dir, lockName), true, false)
	if err != nil {
		return false
	}
	defer f.Close()
	return os.RemoveAll(dir) == nil
}

// evidence is how many folders of failed runs are kept.
const evidence = 5

// RunDir makes a folder for one machine's files, and locks it until release is
// called. The machine's own folder is below it. Folders that earlier, failed
// runs left are removed but for the newest few.
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
	f, err := lockFile(filepath.Join(dir, lockName), true, false)
	if err != nil {
		return "", nil, fmt.Errorf("lock the run's folder: %w", err)
	}
	return dir, func() { f.Close() }, nil
}
