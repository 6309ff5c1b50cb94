const answer = await fetch("/api/v1/images");
const page = await answer.json();
const grid = document.getElementById("grid");
if (!answer.ok) grid.textContent = page.detail;
for (const hit of page.hits ?? []) {
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = `${hit.emotion}, ${hit.path}`;
  image.src = `/api/v1/images/${hit.image_id}/thumbnail`;
  grid.append(image);
}
