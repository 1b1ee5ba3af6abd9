package debian

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxWindow bounds the window of a zstd stream in bytes. dpkg compresses with 8 MiB.
const maxWindow = 128 << 20

// debData returns the file tree of a Debian package file (deb(5)).
func debData(r io.Reader) (*tar.Reader, error) { return debMember(r, "data.tar") }

// debMember returns one of the two archives of a Debian package file (deb(5)), data.tar or
// control.tar. The member's name may also end in .gz, .xz or .zst: Debian 13 uses xz for
// every package, Ubuntu zstd.
func debMember(r io.Reader, archive string) (*tar.Reader, error) {
	ar, err := newArReader(bufio.NewReaderSize(r, 1<<18))
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		name, _, err := ar.next()
		if err == io.EOF {
			return nil, fmt.Errorf("no %s in the package file", archive)
		}
		if err != nil {
			return nil, err
		}
		if first {
			// The version is "2.0". A higher second number is compatible.
			v, err := io.ReadAll(io.LimitReader(ar, 16))
			if err != nil {
				return nil, err
			}
			if name != "debian-binary" || !strings.HasPrefix(string(v), "2.") {
				return nil, fmt.Errorf("not a Debian package of format 2: first member %q says %q", name, v)
			}
			continue
		}
		ext, ok := strings.CutPrefix(name, archive)
		if !ok {
			continue
		}
		// Buffered, because the decompressors read single bytes.
		br := bufio.NewReaderSize(ar, 1<<16)
		switch ext {
		case "":
			return tar.NewReader(br), nil
		case ".gz":
			z, err := gzip.NewReader(br)
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", name, err)
			}
			return tar.NewReader(z), nil
		case ".xz":
			z, err := xz.NewReader(br)
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", name, err)
			}
			return tar.NewReader(z), nil
		case ".zst":
			z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
			if err != nil {
				return nil, fmt.Errorf("open %s: %w", name, err)
			}
			return tar.NewReader(z), nil
		}
		return nil, fmt.Errorf("the compression of %s is not supported (xz, gz and zst are)", name)
	}
}
