package printable

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// File returns the error of opening a file or a folder that the user has named, with the
// remedy behind it. An error without a remedy stays as it is.
func File(err error) error {
	for _, r := range []struct {
		is     error
		remedy string
	}{
		{fs.ErrNotExist, "check the path"},
		{syscall.ENOTDIR, "a part of the path is a file, check the path"},
		{syscall.ELOOP, "its symbolic links lead in a circle, give the path of the file itself"},
		{syscall.ENAMETOOLONG, "check the path"},
		{fs.ErrPermission, "let this user read it"},
	} {
		if errors.Is(err, r.is) {
			return fmt.Errorf("%w: %s", err, r.remedy)
		}
	}
	return err
}
