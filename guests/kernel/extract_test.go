package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var update = flag.Bool("update", false, "rewrite testdata with the xz and bzip2 programs")

// payloads compresses b in every supported format. Go has no writers for xz and bzip2,
// so these payloads come from testdata.
func payloads(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	legacy := []byte("\x02\x21\x4c\x18")
	for rest := b; len(rest) > 0; {
		n := min(len(rest), lz4Block)
		block := make([]byte, lz4.CompressBlockBound(n))
		m, err := lz4.CompressBlock(rest[:n], block, nil)
		if err != nil || m == 0 {
			t.Fatalf("lz4: %d bytes, %v", m, err)
		}
		legacy = append(binary.LittleEndian.AppendUint32(legacy, uint32(m)), block[:m]...)
		rest = rest[n:]
	}
	return map[string][]byte{
		"gzip":  gz.Bytes(),
		"zstd":  zstdPayload(t, b),
		"lz4":   legacy,
		"xz":    packed(t, "kernel.xz", b, "xz", "--check=crc32", "--x86", "--lzma2=dict=1MiB", "-c"),
		"bzip2": packed(t, "kernel.bz2", b, "bzip2", "-9", "-c"),
	}
}

func zstdPayload(t testing.TB, b []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(b, nil)
}

func packed(t testing.TB, name string, b []byte, command ...string) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdin = bytes.NewReader(b)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// packedKernel returns the content of the payloads in testdata. It must not change.
func packedKernel(t testing.TB) []byte {
	t.Helper()
	b := append([]byte("\x7fELF"), bytes.Repeat([]byte{0xe8, 0x10, 0x20, 0, 0, 0x90, 0x90}, 500)...)
	for i := range 300 {
		b = binary.LittleEndian.AppendUint32(b, uint32(i*i))
	}
	return b
}

func TestExtractELF(t *testing.T) {
	t.Parallel()
	want := packedKernel(t)
	for format, p := range payloads(t, want) {
		t.Run(format, func(t *testing.T) {
			image := fakeBzImage(p, len(want), format != "gzip")
			got, err := ExtractELF(image)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d, or they differ", len(got), len(want))
			}

			// Change one bit in the middle of the compressed data.
			bad := bytes.Clone(image)
			bad[4*512+0x2c+len(p)/2] ^= 0x10
			if got, err := ExtractELF(bad); err == nil && bytes.Equal(got, want) {
				t.Error("damaged payload gave the undamaged kernel: the test hit no payload byte")
			}
			short := fakeBzImage(p[:len(p)-len(p)/3], len(want), true)
			if _, err := ExtractELF(short); err == nil {
				t.Error("no error for a payload that is cut off")
			}
			if format == "gzip" {
				return
			}
			for _, size := range []int{len(want) - 1, len(want) + 1} {
				if _, err := ExtractELF(fakeBzImage(p, size, true)); err == nil {
					t.Errorf("no error for announced size %d instead of %d", size, len(want))
				}
			}
		})
	}
	got, err := ExtractELF(want)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("ELF input: %d bytes, %v; want it back as it is", len(got), err)
	}
}

func TestExtractELFErrors(t *testing.T) {
	t.Parallel()
	old := fakeBzImage([]byte("0123456789"), 10, true)
	old[bootVersion] = 7
	cut := fakeBzImage([]byte("\x1f\x8b345678"), 10, true)
	for _, tt := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"empty", nil, "neither an ELF file nor an x86 bzImage"},
		{"text", bytes.Repeat([]byte("no kernel "), 100), "neither an ELF file nor an x86 bzImage"},
		{"old", old, "boot protocol 2.07"},
		{"cut off", cut[:4*512+0x2c+4], "cut off"},
		{"lzma", fakeBzImage([]byte("\x5d\x00\x00\x80"), 10, true), "lzma payload of 8 bytes: compression is not supported"},
		{"lzo", fakeBzImage([]byte("\x89LZO\x00"), 10, true), "lzo payload"},
		{"unknown", fakeBzImage([]byte("garbage"), 10, true), "unknown (67617262)"},
		{"huge", fakeBzImage([]byte("\x28\xb5\x2f\xfd"), 1<<31, true), "more than the limit"},
		{"no ELF", fakeBzImage(zstdPayload(t, []byte(strings.Repeat("x", 500))), 500, true), "holds no ELF"},
	} {
		if _, err := ExtractELF(tt.image); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}
