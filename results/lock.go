package results

import (
	"errors"
	"fmt"
	"io"
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
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("lock run: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			holder, _ := io.ReadAll(io.LimitReader(f, 32))
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("run %s is being written by process %s: wait for it or stop it", dir,
					strings.TrimSpace(string(holder)))
			}
			return nil, fmt.Errorf("lock run %s: %w", dir, err)
		}
		// The former holder may have removed the file between our open
		// and our lock; a lock on a removed file keeps nobody out.
		locked, lerr := f.Stat()
		named, nerr := os.Stat(path)
		if lerr == nil && nerr == nil && os.SameFile(locked, named) {
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
		f.Close()
		if lerr != nil {
			return nil, fmt.Errorf("lock run: %w", lerr)
		}
		if nerr != nil && !errors.Is(nerr, os.ErrNotExist) {
			return nil, fmt.Errorf("lock run: %w", nerr)
		}
	}
}

// unlockRun gives the run back. The file is removed while the lock is held.
func unlockRun(f *os.File) error {
	return errors.Join(os.Remove(f.Name()), f.Close())
}
