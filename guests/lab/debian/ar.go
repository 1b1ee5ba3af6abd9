package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// An ar archive (ar(5)) begins with arMagic. The header of a member has
// arHeaderBytes: name 16, mtime 12, uid 6, gid 6, mode 8, size 10, and the two bytes
// 0x60 0x0a.
const (
	arMagic       = "!<arch>\n"
	arHeaderBytes = 60
)

// arReader reads the members of an ar archive in their order. It takes the form that
// package files have: short names, sizes in decimal.
type arReader struct {
	r    io.Reader
	left int64 // unread bytes of the current member
	pad  int64 // 1 if a pad byte follows the member, else 0
}

func newArReader(r io.Reader) (*arReader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, fmt.Errorf("read ar magic: %w", noEOF(err))
	}
	if string(magic) != arMagic {
		return nil, fmt.Errorf("not an ar archive: it begins with %q", magic)
	}
	return &arReader{r: r}, nil
}

// next goes to the next member and returns its name and its size in bytes, or io.EOF
// after the last one. Read then reads the member's data.
func (a *arReader) next() (name string, size int64, err error) {
	if _, err := io.CopyN(io.Discard, a.r, a.left); err != nil {
		return "", 0, fmt.Errorf("skip ar member: %w", noEOF(err))
	}
	a.left = 0
	// The last member's pad byte may be missing.
	if _, err := io.CopyN(io.Discard, a.r, a.pad); err != nil {
		return "", 0, err
	}
	a.pad = 0
	h := make([]byte, arHeaderBytes)
	if _, err := io.ReadFull(a.r, h); err == io.EOF {
		return "", 0, io.EOF
	} else if err != nil {
		return "", 0, fmt.Errorf("read ar member header: %w", err)
	}
	if !bytes.Equal(h[58:], []byte("`\n")) {
		return "", 0, errors.New("ar member header has no end mark")
	}
	name = strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("ar member %q has the size %q", name, h[48:58])
	}
	a.left, a.pad = size, size&1
	return name, size, nil
}

// Read reads the current member's data.
func (a *arReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	if err == io.EOF && a.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// noEOF replaces io.EOF by io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
