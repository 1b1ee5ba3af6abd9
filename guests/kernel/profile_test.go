package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
)

var profileFields = []string{"task_struct.comm", "task_struct.lock.pending", "task_struct.flag_b", "task_struct",
	"enum FAKE_BAD", "task_struct.state?", "nosuch?", "enum NOSUCH?"}

func fakeProfile(t testing.TB) ([]byte, *Profile, *Kernel, []Symbol) {
	t.Helper()
	image, syms := fakeKernel(t, kallsymsLayouts[2])
	k, err := Read(image)
	if err != nil {
		t.Fatal(err)
	}
	p, err := k.Profile(profileFields)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := p.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d bytes, said %d, %v", b.Len(), n, err)
	}
	return b.Bytes(), p, k, syms
}

func TestProfile(t *testing.T) {
	t.Parallel()
	b, made, k, syms := fakeProfile(t)
	p, err := ReadProfile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, made) {
		t.Error("the profile read differs from the one written")
	}
	checkSymbols(t, p.Symbols, syms)
	if p.Release != fakeRelease || p.Banner != fakeBanner {
		t.Errorf("release %q, banner %q", p.Release, p.Banner)
	}
	// Profile and types give the same results.
	for _, src := range []interface {
		Field(structName, path string) (Field, error)
		SizeOf(name string) (uint32, error)
		EnumValue(name string) (int64, error)
	}{p, k.Types} {
		if f, err := src.Field("task_struct", "lock.pending"); err != nil || f != (Field{Offset: 5, Size: 1}) {
			t.Errorf("%T: task_struct.lock.pending: %+v, %v", src, f, err)
		}
		if f, err := src.Field("task_struct", "flag_b"); err != nil ||
			f != (Field{Offset: 32, Size: 2, BitOffset: 3, BitSize: 7}) {
			t.Errorf("%T: task_struct.flag_b: %+v, %v", src, f, err)
		}
		if n, err := src.SizeOf("task_struct"); err != nil || n != 96 {
			t.Errorf("%T: size of task_struct: %d, %v", src, n, err)
		}
		if v, err := src.EnumValue("FAKE_BAD"); err != nil || v != -1 {
			t.Errorf("%T: FAKE_BAD: %d, %v", src, v, err)
		}
		if _, err := src.Field("task_struct", "state"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%T: task_struct.state: %v, want %v", src, err, ErrNotFound)
		}
	}
	if _, err := p.Field("task_struct", "next"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a field nobody asked for: %v, want %v", err, ErrNotFound)
	}
	var again bytes.Buffer
	if _, err := p.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), b) {
		t.Errorf("writing the profile again gives other bytes (%v)", err)
	}

	_, err = k.Profile([]string{"task_struct.comm", "task_struct.state", "enum NOSUCH", "clash.moved?", "nosuch"})
	for _, want := range []string{"task_struct.state", "NOSUCH", "clash.moved", "nosuch", fakeRelease} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing fields: error %v does not name %s", err, want)
		}
	}
}

// seal sets the right checksum of a profile.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[16:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestReadProfileErrors(t *testing.T) {
	t.Parallel()
	good, p, _, _ := fakeProfile(t)
	n := p.Symbols.Len()
	edit := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return seal(b)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "not a kernel profile"},
		{"magic", flip(0), "not a kernel profile"},
		{"version", edit(8, 2), "version 2"},
		{"cut off", good[:len(good)-1], "cut off"},
		{"longer", append(bytes.Clone(good), 0), "cut off"},
		{"too many symbols", edit(16, 0xffffffff), "cut off"},
		{"damaged", flip(len(good) / 2), "checksum"},
		{"damaged checksum", flip(12), "checksum"},
		{"addresses descend", edit(profileHeader+8*10, 0xffffffff), "out of order"},
		{"names descend", edit(profileHeader+8*n+4*10, 1), "out of order"},
		{"names too long", edit(profileHeader+8*n+4*(n-1), 1<<31), "do not match"},
		{"index too big", edit(profileHeader+12*n, uint32(n)), "out of order"},
		{"JSON", func() []byte { b := bytes.Clone(good); b[len(b)-1] = 'x'; return seal(b) }(), "fields"},
	} {
		if _, err := ReadProfile(tt.b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}
