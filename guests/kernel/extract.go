package kernel

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// maxImage bounds an uncompressed kernel in bytes. Kernels of distributions have 30 to
// 70 MB, debug builds a few times that.
const maxImage = 512 << 20

// Offsets in the first sectors of a bzImage, from the kernel's documentation of the x86
// boot protocol. payload_offset and payload_length exist since protocol 2.08.
const (
	bootSetupSects    = 0x1f1
	bootMagic         = 0x202 // "HdrS"
	bootVersion       = 0x206
	bootPayloadOffset = 0x248
	bootPayloadLength = 0x24c
	bootHeaderEnd     = 0x250
)

// ExtractELF returns the uncompressed kernel of a bzImage ("vmlinuz"). It returns an
// ELF file unchanged. The relocation table of the kernel's own loader may be behind
// the ELF file (see [TrailingRelocations]); ELF readers ignore it and [Compact]
// removes it.
//
// It supports zstd, gzip, xz (with the x86 filter), bzip2 and lz4 (legacy frame), and
// returns an error for lzma and lzo.
func ExtractELF(image []byte) ([]byte, error) {
	if isELF(image) {
		return image, nil
	}
	payload, err := bootPayload(image)
	if err != nil {
		return nil, fmt.Errorf("extract kernel: %w", err)
	}
	format, out, err := decompress(payload)
	if err != nil {
		return nil, fmt.Errorf("extract kernel: %s payload of %d bytes: %w", format, len(payload), err)
	}
	if !isELF(out) {
		return nil, fmt.Errorf("extract kernel: the %s payload holds no ELF file", format)
	}
	return out, nil
}

func isELF(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

// bootPayload finds the compressed kernel by the fields of the setup header.
func bootPayload(image []byte) ([]byte, error) {
	if len(image) < bootHeaderEnd || string(image[bootMagic:bootMagic+4]) != "HdrS" {
		return nil, errors.New("neither an ELF file nor an x86 bzImage; give a vmlinuz or vmlinux")
	}
	le := binary.LittleEndian
	if v := le.Uint16(image[bootVersion:]); v < 0x208 {
		return nil, fmt.Errorf("boot protocol %d.%02d does not give the payload's position; 2.08 or newer is needed",
			v>>8, v&0xff)
	}
	sects := uint64(image[bootSetupSects])
	if sects == 0 {
		sects = 4 // the protocol's rule for very old images
	}
	start := (sects+1)*512 + uint64(le.Uint32(image[bootPayloadOffset:]))
	size := uint64(le.Uint32(image[bootPayloadLength:]))
	if size < 8 || start+size > uint64(len(image)) {
		return nil, fmt.Errorf("payload of %d bytes at %d is not inside the image of %d bytes; the file is cut off or "+
			"damaged", size, start, len(image))
	}
	return image[start : start+size], nil
}

// decompress decompresses a payload and returns its format. The last four bytes of a
// payload are the uncompressed size, little-endian (gzip has the same in its format).
// The size bounds the output, and shows that it is complete.
func decompress(payload []byte) (format string, out []byte, err error) {
	body := payload[:len(payload)-4]
	size := int(binary.LittleEndian.Uint32(payload[len(payload)-4:]))
	format, unpack := sniff(payload)
	if unpack == nil {
		return format, nil, errors.New("compression is not supported; give the uncompressed vmlinux")
	}
	if size > maxImage {
		return format, nil, fmt.Errorf("it has %d bytes uncompressed, more than the limit of %d", size, maxImage)
	}
	if format == "gzip" {
		body = payload // the size is part of gzip's own trailer
	}
	out, err = unpack(body, size)
	if err != nil {
		return format, nil, err
	}
	if len(out) != size {
		return format, nil, fmt.Errorf("it gave %d bytes instead of %d", len(out), size)
	}
	return format, out, nil
}

// sniff returns the format of a payload by its first bytes. unpack is nil for a format
// that is not supported.
func sniff(payload []byte) (format string, unpack func(body []byte, size int) ([]byte, error)) {
	for _, f := range []struct {
		name, magic string
		unpack      func([]byte, int) ([]byte, error)
	}{
		{"zstd", "\x28\xb5\x2f\xfd", unpackZstd},
		{"gzip", "\x1f\x8b", stream(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })},
		{"xz", "\xfd7zXZ\x00", stream(func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, maxDictionary) })},
		{"bzip2", "BZh", stream(func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil })},
		{"lz4", "\x02\x21\x4c\x18", unpackLZ4},
		{"lzma", "\x5d\x00\x00", nil},
		{"lzo", "\x89LZO", nil},
	} {
		if bytes.HasPrefix(payload, []byte(f.magic)) {
			return f.name, f.unpack
		}
	}
	return fmt.Sprintf("unknown (%x)", payload[:4]), nil
}

// maxDictionary bounds an xz dictionary in bytes. Kernels are built with 32 MiB, newer
// ones with 128 MiB.
const maxDictionary = 128 << 20

// stream makes an unpack function of a streaming reader. It stops after size bytes, so
// a payload with more than its announced size takes no more memory.
func stream(open func(io.Reader) (io.Reader, error)) func([]byte, int) ([]byte, error) {
	return func(body []byte, size int) ([]byte, error) {
		r, err := open(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if _, err := io.CopyN(&out, r, int64(size)); err != nil {
			return nil, err
		}
		// The reader compares the checksum at the end.
		switch _, err := io.ReadFull(r, make([]byte, 1)); err {
		case io.EOF:
			return out.Bytes(), nil
		case nil:
			return nil, fmt.Errorf("unpacks to more than the announced %d bytes", size)
		default:
			return nil, err
		}
	}
}

func unpackZstd(body []byte, size int) ([]byte, error) {
	// Kernels are compressed with a window of 128 MiB. Decoding into one buffer needs no
	// window besides it.
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxImage))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(body, make([]byte, 0, min(size, 16*len(body))))
}

// lz4Block is the uncompressed size in bytes of each block of a legacy lz4 frame,
// except the last.
const lz4Block = 8 << 20

// unpackLZ4 decompresses the legacy frame: a magic number, then blocks, each with its
// 32-bit compressed size before it.
func unpackLZ4(body []byte, size int) ([]byte, error) {
	var out []byte
	block := make([]byte, min(size, lz4Block))
	for rest := body[4:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := uint64(binary.LittleEndian.Uint32(rest))
		rest = rest[4:]
		if n > uint64(len(rest)) {
			return nil, io.ErrUnexpectedEOF
		}
		m, err := lz4.UncompressBlock(rest[:n], block)
		if err != nil {
			return nil, err
		}
		if len(out)+m > size {
			return nil, fmt.Errorf("unpacks to more than the announced %d bytes", size)
		}
		out = append(out, block[:m]...)
		rest = rest[n:]
	}
	return out, nil
}
