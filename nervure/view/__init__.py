"""Programs as pictures and pages: the layered drawing, SVG, DOT, Mermaid, and the page that shows a compilation."""
