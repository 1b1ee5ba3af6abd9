package bochs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// punchHoles gives the disk back what a file's pages of zeros take. Bochs writes
// a restored machine's memory whole, and most of it has never been used.
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
				return nil // the file system has no holes; the file is as good
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
