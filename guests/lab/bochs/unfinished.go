package bochs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// unfinished is the beginning of the names of folders in which snapshots and preload
// libraries are being made. Whoever makes one holds a lock (flock(2)) on the folder itself,
// which the kernel releases when the process ends, also after a kill.
const unfinished = ".unfinished-"

// makeUnfinished makes a folder for what is being made and locks it until held is closed.
func makeUnfinished(parent string) (dir string, held *os.File, err error) {
	for {
		if dir, err = os.MkdirTemp(parent, unfinished); err != nil {
			return "", nil, err
		}
		held, err = lockDir(dir)
		switch _, lerr := os.Lstat(dir); {
		case err == nil && lerr == nil:
			return dir, held, nil
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.EWOULDBLOCK), errors.Is(lerr, os.ErrNotExist):
			// RemoveUnfinished came between: it takes a folder without a lock for a left one.
			held.Close()
		default:
			held.Close()
			return "", nil, errors.Join(err, lerr)
		}
	}
}

// lockDir locks a folder until the file is closed. The error is unix.EWOULDBLOCK if
// another process holds the lock.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Unfinished reports whether a folder is one in which a process that was killed meant to
// save a snapshot or to build a preload library.
func Unfinished(dir string) bool {
	held, err := lockDir(dir)
	if err != nil {
		return false
	}
	held.Close()
	return strings.HasPrefix(filepath.Base(dir), unfinished)
}

// RemoveUnfinished removes the folders below dir that processes which were killed have left
// (see [Unfinished]), and returns their paths.
func RemoveUnfinished(dir string) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) {
			continue
		}
		d := filepath.Join(dir, e.Name())
		held, err := lockDir(d)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // it is in use, or another process has removed it
		}
		if err != nil {
			return removed, err
		}
		err = os.RemoveAll(d)
		held.Close()
		if err != nil {
			return removed, err
		}
		removed = append(removed, d)
	}
	return removed, nil
}
