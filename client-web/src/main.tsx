/** Puts the pages into the document. */

import { createRoot } from 'react-dom/client';
import { Root } from './pages/Root.tsx';
import './style/index.css';

const root = document.getElementById('root');
if (root === null) throw new Error('index.html has no #root');
createRoot(root).render(<Root />);
