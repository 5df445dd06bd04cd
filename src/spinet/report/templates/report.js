(() => {
  const read = name => JSON.parse(document.getElementById(name).textContent);
  const figures = read('figures'), palette = read('palette');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const touch = matchMedia('(pointer: coarse)').matches;
  // Figures name their colours; plotly.js knows neither CSS variables nor light-dark().
  const paint = value => {
    if (typeof value === 'string') return palette[value.slice(1)]?.[+dark.matches] ?? value;
    if (Array.isArray(value)) return value.map(paint);
    if (value && typeof value === 'object')
      return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, paint(part)]));
    return value;
  };
  const axis = { gridcolor: '$grid', zeroline: false, linecolor: '$grid', automargin: true, title: { standoff: 10 } };
  const template = { layout: {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', hovermode: 'closest', xaxis: axis, yaxis: axis,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: '$grey' },
    legend: { orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom', traceorder: 'normal' },
    hoverlabel: { bgcolor: '$paper', bordercolor: '$faint', font: { color: '$ink' }, align: 'left' },
  } };
  const frame = { height: 400, margin: { l: 8, r: 10, t: 8, b: 8 }, dragmode: touch ? false : 'zoom', template };
  const show = () => {
    for (const { name, traces, layout } of figures)
      Plotly.react(name, paint(traces), paint({ ...frame, ...layout }), { responsive: true, displayModeBar: false });
  };
  show();
  dark.addEventListener('change', show);
})();
