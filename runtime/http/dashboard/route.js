// route.js: the part behind # says which page: #/tasks/ID, #/tasks?status=FAILURE. A link can be shared.
import { useEffect, useState } from 'preact/hooks';

function read() {
  const [path, query = ''] = window.location.hash.replace(/^#\/?/, '').split('?');
  const words = path.split('/').filter(Boolean).map((word) => {
    try {
      return decodeURIComponent(word);
    } catch {
      return word;
    }
  });
  return { page: words[0] || 'overview', word: words[1] || null, query: new URLSearchParams(query) };
}

export function useRoute() {
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const changed = () => setRoute(read());
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  return route;
}

export function link(page, word, query) {
  const text = query ? new URLSearchParams(query).toString() : '';
  return `#/${page}${word ? `/${encodeURIComponent(word)}` : ''}${text ? `?${text}` : ''}`;
}

export function go(page, word, query) {
  window.location.hash = link(page, word, query);
}
