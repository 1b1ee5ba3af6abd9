package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockRun takes the run in dir for this process. The lock is the kernel's
// (flock), so that a killed writer leaves none behind; the file holds the
// writer's process id for the message only.
func lockRun(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := openLocked(path, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, lockedError(path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock run: %w", err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock run: %w", err)
	}
	return f, nil
}

// lockedError is the error for a run that another process writes. path is its lock's.
func lockedError(path string) error {
	holder := make([]byte, 32)
	n := 0
	if f, err := OpenFile(path); err == nil {
		n, _ = f.Read(holder) // a message without it is good enough
		f.Close()
	}
	return fmt.Errorf("run %s is being written by process %s: wait for it or stop it", filepath.Dir(path),
		strings.TrimSpace(string(holder[:n])))
}

// Locked returns an error that names the process if one is writing the run in dir.
func Locked(dir string) error {
	path := filepath.Join(dir, lockFile)
	f, err := OpenFile(path)
	if err != nil {
		return nil // no lock, or one that lockRun will report
	}
	defer f.Close()
	if errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return lockedError(path)
	}
	return nil
}

// linkError is err, which says it if the file at path was not opened because it is a link.
func linkError(path string, err error) error {
	if errors.Is(err, syscall.ELOOP) {
		return fmt.Errorf("%s is a link, which this program does not make: remove it", path)
	}
	return err
}

// AppendFile opens the file at path, or creates it, to write at its end. It follows no link:
// a run of somebody else must not name a file to be written.
func AppendFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, linkError(path, err)
	}
	return f, nil
}

// openLocked opens the file at path, or creates it, and locks it as flock(2) has it in how.
// It follows no link, as [AppendFile].
func openLocked(path string, how int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
		if err != nil {
			return nil, linkError(path, err)
		}
		for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
			err = syscall.Flock(int(f.Fd()), how)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The former holder may have removed or renamed the file between our open
		// and our lock; a lock on that file keeps nobody out.
		locked, lerr := f.Stat()
		named, nerr := os.Lstat(path)
		if lerr == nil && nerr == nil && os.SameFile(locked, named) {
			return f, nil
		}
		f.Close()
		if lerr != nil {
			return nil, lerr
		}
		if nerr != nil && !errors.Is(nerr, os.ErrNotExist) {
			return nil, nerr
		}
	}
}

// unlockRun gives the run back. The file is removed while the lock is held.
func unlockRun(f *os.File) error {
	return errors.Join(os.Remove(f.Name()), f.Close())
}
