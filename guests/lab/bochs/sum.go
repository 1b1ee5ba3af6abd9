package bochs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// castagnoli is the CRC-32C polynomial of RFC 3720.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum returns the CRC-32C of a file's content. It does not read the file's holes,
// whose bytes are zeros: most of a memory's image is holes.
func sum(ctx context.Context, path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var crc uint32
	var zeros [64 << 10]byte
	buf := make([]byte, 1<<20)
	for at, size := int64(0), info.Size(); at < size; {
		data, end, err := extent(f, at, size)
		if err != nil {
			return 0, fmt.Errorf("sum %s: %w", path, err)
		}
		for ; at < data; at += min(data-at, int64(len(zeros))) {
			crc = crc32.Update(crc, castagnoli, zeros[:min(data-at, int64(len(zeros)))])
		}
		for at < end {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			n, err := f.ReadAt(buf[:min(end-at, int64(len(buf)))], at)
			crc = crc32.Update(crc, castagnoli, buf[:n])
			at += int64(n)
			if at < end && err != nil {
				return 0, fmt.Errorf("sum %s: %w", path, noEOF(err))
			}
		}
	}
	return crc, nil
}

// noEOF names an end of a file that comes too early.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// extent returns where the next data of a file begins and ends, from an offset on.
// Both are size if only a hole follows. A file system without holes has one extent.
func extent(f *os.File, from, size int64) (data, end int64, err error) {
	data, err = unix.Seek(int(f.Fd()), from, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return from, size, nil
	case err != nil:
		return 0, 0, err
	}
	if end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE); err != nil {
		return 0, 0, err
	}
	return min(data, size), min(end, size), nil
}

// stamp tells a file from itself after it was changed or replaced: every write
// changes the time of the last change (ctime), which no program can set.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// stampOf returns the stamp of a regular file. It does not follow a link.
func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return stamp{}, &fs.PathError{Op: "look at", Path: path, Err: err}
	}
	return stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// syncPath waits until a file, or the names in a folder, are on the disk. A file
// system that cannot is not an error.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return nil
}
