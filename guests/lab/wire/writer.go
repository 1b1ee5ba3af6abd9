package wire

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Writer writes messages. Several goroutines may call its methods; their messages
// do not mix. The zero value is not usable: see [NewWriter].
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	seq uint64
	err error // first failure to write; nothing is written after it

	packer *flate.Writer // kept: setting one up costs more than most messages
}

// NewWriter returns a Writer whose first frame has sequence number 1.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Sync writes n newlines, which a reader ignores. A port that is being opened or
// reset loses its first bytes: these newlines, and no message.
func (w *Writer) Sync(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(bytes.Repeat([]byte{'\n'}, n))
}

// Send writes v as JSON in a message of kind k. A nil v gives an empty body.
func (w *Writer) Send(k Kind, v any) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return fmt.Errorf("encode a %s message: %w", k, err)
		}
	}
	return w.Write(k, body)
}

// Write writes a message. The body may hold any bytes, up to [MaxMessage] of
// them. After an error of the underlying writer, which may have taken half a
// frame, every further call fails with the same error.
func (w *Writer) Write(k Kind, body []byte) error {
	if !k.Valid() {
		return fmt.Errorf("write a message: %q is not a kind of message", string(k))
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("write a %s message: %d bytes are more than the %d that fit", k, len(body), MaxMessage)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	enc, text, err := w.encode(body)
	if err != nil {
		return fmt.Errorf("encode a %s message: %w", k, err)
	}
	pieces := max(1, (len(text)+pieceSize-1)/pieceSize)
	for i := range pieces {
		w.seq++
		f := frame{
			seq: w.seq, kind: k, encoding: enc, piece: i + 1, pieces: pieces,
			payload: text[i*pieceSize : min(len(text), (i+1)*pieceSize)],
		}
		if err := w.write(f.line()); err != nil {
			return fmt.Errorf("write a %s message: %w", k, err)
		}
	}
	return nil
}

// write writes all of b, or fails, and from then on always. The lock is held.
func (w *Writer) write(b []byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := w.w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	w.err = err
	return err
}

// encode returns a body in its form for the payloads. The lock is held.
func (w *Writer) encode(body []byte) (encoding, []byte, error) {
	plain := printable(body)
	if plain && len(body) <= readableSize {
		return encodingText, body, nil
	}
	var packed bytes.Buffer
	if w.packer == nil {
		var err error
		if w.packer, err = flate.NewWriter(&packed, flate.DefaultCompression); err != nil {
			return 0, nil, err
		}
	} else {
		w.packer.Reset(&packed)
	}
	if _, err := w.packer.Write(body); err != nil {
		return 0, nil, err
	}
	if err := w.packer.Close(); err != nil {
		return 0, nil, err
	}
	text := base64.RawStdEncoding.AppendEncode(nil, packed.Bytes())
	if plain && len(text) >= len(body) {
		return encodingText, body, nil
	}
	return encodingDeflate, text, nil
}
