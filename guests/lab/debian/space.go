package debian

import (
	"errors"
	"fmt"
	"syscall"
)

// NeedSpace returns a *NoSpaceError if an ordinary user cannot write need bytes to the
// file system of dir, which must exist.
func NeedSpace(dir string, need int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < need {
		return &NoSpaceError{Path: dir, NeedBytes: need, FreeBytes: free}
	}
	return nil
}

// noSpace replaces an error of a full file system by a *NoSpaceError that names dir,
// and returns any other error unchanged.
func noSpace(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &NoSpaceError{Path: dir}
	}
	return err
}
