package bochs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// punchHoles frees the disk space of a file's blocks of zeros. Bochs writes the
// whole memory of a machine, and most of it has never been used.
func punchHoles(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const block = 64 << 10
	zeros := make([]byte, block)
	buf := make([]byte, block)
	for at := int64(0); ; at += block {
		n, err := io.ReadFull(f, buf)
		if n > 0 && bytes.Equal(buf[:n], zeros[:n]) {
			err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(n))
			if errors.Is(err, unix.EOPNOTSUPP) {
				return nil // the file system has no holes; the file only takes more space
			}
			if err != nil {
				return fmt.Errorf("punch holes into %s: %w", path, err)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("punch holes into %s: %w", path, err)
		}
	}
}
